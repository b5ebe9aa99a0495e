#include "gateway/connection/peer_state.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>

#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

std::optional<bool> acknowledged(int descriptor) noexcept {
  int waiting = 0;
  if (::ioctl(descriptor, SIOCOUTQ, &waiting) != 0) return std::nullopt;
  return waiting == 0;
}

// Of the probes of a window that is shut, whose answers tell a peer that does not read from one
// that vanished. The kernel's own limit is two minutes. Linux 6.15 and newer; ignored before.
void probe_often(int descriptor) noexcept {
  constexpr int kRtoMaxMs = 44;  // TCP_RTO_MAX_MS, not in the headers of glibc 2.36
  constexpr int kMost = 30'000;
  ::setsockopt(descriptor, IPPROTO_TCP, kRtoMaxMs, &kMost, sizeof kMost);
}

std::optional<PeerState> state_of(int descriptor) noexcept {
  const std::optional<bool> taken = acknowledged(descriptor);
  if (!taken) return std::nullopt;
  PeerState state{.acknowledged = *taken};
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return state;
  if (!state.acknowledged && info.tcpi_unacked == 0) probe_often(descriptor);
  state.gone = info.tcpi_state == TCP_CLOSE;
  state.ended = state.gone || info.tcpi_state == TCP_CLOSE_WAIT || info.tcpi_state == TCP_LAST_ACK;
  using std::chrono::milliseconds;
  const std::uint32_t heard = std::min(info.tcpi_last_data_recv, info.tcpi_last_ack_recv);
  // Segments that are repeated (tcpi_unacked counts those under way), or a window that is shut and
  // probed: tcpi_probes is 0 again with each answer. One may be lost, or not answered: a peer
  // limits its answers to two a second.
  const bool repeats = info.tcpi_unacked > 0 && info.tcpi_last_data_sent < heard;
  state.silent_for = milliseconds(info.tcpi_last_data_recv);
  state.still_for = milliseconds(std::min(info.tcpi_last_data_recv, info.tcpi_last_data_sent));
  if (repeats || info.tcpi_probes > 1) state.owes_for = milliseconds(heard);
  return state;
}

}  // namespace

iouring::Task<std::optional<PeerState>> peer_state(iouring::Socket& socket) {
  iouring::Result<iouring::FileDescriptor> descriptor = co_await socket.install();
  if (!descriptor) co_return std::nullopt;
  co_return state_of(descriptor->get());
}

iouring::Task<void> until_acknowledged(LiveConnection& connection, iouring::Socket& peer) {
  iouring::Ring& ring = connection.shard().ring;
  const iouring::TimePoint give_up = ring.now() + connection.shard().timeouts.longest_linger();
  iouring::Result<iouring::FileDescriptor> descriptor = co_await peer.install();
  if (!descriptor) co_return;
  for (auto pause = std::chrono::milliseconds(1); ring.now() < give_up;
       pause = std::min(2 * pause, std::chrono::milliseconds(50))) {
    pollfd gone{.fd = descriptor->get(), .events = 0, .revents = 0};
    if (acknowledged(descriptor->get()).value_or(true)) co_return;
    if (::poll(&gone, 1, 0) != 0) co_return;
    iouring::Result<> slept = co_await iouring::sleep_for(ring, pause);
    if (!slept) co_return;
  }
}

}  // namespace sallyport::gateway
