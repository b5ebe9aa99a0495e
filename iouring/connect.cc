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

// An option of listeners which, on a socket that connects, has the kernel keep the acknowledgement
// that ends the handshake for data to go with, and acknowledge as always from there on
// (tcp_rcv_synsent_state_process). Unlike TCP_QUICKACK it outlives the connection. A failure costs
// a segment.
void delay_acknowledgement(const Socket& socket) noexcept {
  constexpr int kSeconds = 1;  // any but 0
  ::setsockopt(socket.descriptor(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &kSeconds, sizeof kSeconds);
}

Result<Socket> new_socket(Ring& ring, int family, FirstBytes first) {
  FileDescriptor descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!descriptor) return failure(errno);
  Socket socket(ring, std::move(descriptor));
  if (first == FirstBytes::kAtOnce) delay_acknowledgement(socket);
  return socket;
}

Task<Result<Socket>> connect_by_ring(Result<Socket> socket, SocketAddress address) {
  if (!socket) co_return failure(socket.error().value);
  const Result<> connected = co_await Connect(*socket, address);
  if (!connected) co_return failure(connected.error().value);
  co_return *std::move(socket);
}

}  // namespace

Task<Result<Socket>> connect(Ring& ring, SocketAddress address, FirstBytes first) {
  if (address.family() == AF_UNIX) return connect_unix(ring, address);
  return connect_by_ring(new_socket(ring, address.family(), first), address);
}

Task<Result<Socket>> connect(Socket socket, SocketAddress address) {
  return connect_by_ring(std::move(socket), address);
}

}  // namespace sallyport::iouring
