#include "iouring/connect.h"

#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "iouring/deadline.h"
#include "iouring/file_descriptor.h"
#include "iouring/socket_operation.h"

namespace sallyport::iouring {

namespace {

class [[nodiscard]] Connect final : public SocketOperation {
 public:
  Connect(Socket& socket, const SocketAddress& address) noexcept
      : SocketOperation(socket), address_(&address) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override {
    io_uring_prep_connect(&sqe, -1, address_->data(), address_->size());
    target(sqe);
  }
  const SocketAddress* address_;
};

// connect(2) to a unix socket waits for nothing but room in the backlog, of which poll(2) tells
// nothing: the ring would give each such connect a thread to wait in (unix_stream_connect in the
// kernel). It is asked again now and then instead.
Task<Result<Socket>> connect_unix(Ring& ring, SocketAddress address) {
  constexpr std::chrono::milliseconds kLongestPause{64};
  FileDescriptor descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!descriptor) co_return failure(errno);
  for (auto pause = std::chrono::milliseconds(1);
       ::connect(descriptor.get(), address.data(), address.size()) != 0;
       pause = std::min(2 * pause, kLongestPause)) {
    if (errno != EAGAIN && errno != EINTR) co_return failure(errno);
    const Result<> slept = co_await sleep_for(ring, pause);
    if (!slept) co_return failure(slept.error().value);
  }
  if (::fcntl(descriptor.get(), F_SETFL, 0) != 0) co_return failure(errno);
  co_return Socket(ring, std::move(descriptor));
}

// The kernel then keeps the acknowledgement that ends the handshake for data to go with, and
// acknowledges as always from there on (tcp_rcv_synsent_state_process). A failure costs a segment.
void delay_acknowledgement(const Socket& socket) noexcept {
  constexpr int kOff = 0;
  ::setsockopt(socket.descriptor(), IPPROTO_TCP, TCP_QUICKACK, &kOff, sizeof kOff);
}

Task<Result<Socket>> connect_by_ring(Result<Socket> socket, SocketAddress address,
                                     FirstBytes first) {
  if (!socket) co_return failure(socket.error().value);
  if (first == FirstBytes::kAtOnce) delay_acknowledgement(*socket);
  const Result<> connected = co_await Connect(*socket, address);
  if (!connected) co_return failure(connected.error().value);
  co_return *std::move(socket);
}

Result<Socket> new_socket(Ring& ring, int family) {
  FileDescriptor descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!descriptor) return failure(errno);
  return Socket(ring, std::move(descriptor));
}

}  // namespace

Task<Result<Socket>> connect(Ring& ring, SocketAddress address, FirstBytes first) {
  if (address.family() == AF_UNIX) return connect_unix(ring, address);
  return connect_by_ring(new_socket(ring, address.family()), address, first);
}

Task<Result<Socket>> connect(Socket socket, SocketAddress address, FirstBytes first) {
  return connect_by_ring(std::move(socket), address, first);
}

}  // namespace sallyport::iouring
