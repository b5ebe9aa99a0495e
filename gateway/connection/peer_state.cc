#include "gateway/connection/peer_state.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

std::optional<bool> acknowledged(int descriptor) noexcept {
  int waiting = 0;
  if (::ioctl(descriptor, SIOCOUTQ, &waiting) != 0) return std::nullopt;
  return waiting == 0;
}

std::optional<PeerState> state_of(int descriptor) noexcept {
  const std::optional<bool> taken = acknowledged(descriptor);
  if (!taken) return std::nullopt;
  PeerState state{.acknowledged = *taken};
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) {
    state.silent_for = std::chrono::milliseconds(info.tcpi_last_data_recv);
  }
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
  const auto most = connection.shard().timeouts.half_close;
  const iouring::TimePoint give_up =
      most.count() > 0 ? ring.now() + most : iouring::TimePoint::max();
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
