#include "iouring/socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "iouring/invariant.h"

namespace sallyport::iouring {

static_assert(sizeof(Socket) == 16, "memory per idle connection is the product");

Socket::Socket(Ring& ring, FileDescriptor descriptor) noexcept
    : ring_(&ring), index_(descriptor.release()) {}

Socket::Socket(Socket&& other) noexcept
    : ring_(other.ring_),
      index_(std::exchange(other.index_, -1)),
      in_table_(std::exchange(other.in_table_, false)),
      more_waiting_(std::exchange(other.more_waiting_, false)),
      emptied_(std::exchange(other.emptied_, false)) {
  invariant(other.in_flight_ == 0, "a socket stays in place while operations are in flight",
            other.in_flight_);
}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this == &other) return *this;
  invariant(other.in_flight_ == 0, "a socket stays in place while operations are in flight",
            other.in_flight_);
  dispose(false);
  ring_ = other.ring_;
  index_ = std::exchange(other.index_, -1);
  in_table_ = std::exchange(other.in_table_, false);
  more_waiting_ = std::exchange(other.more_waiting_, false);
  emptied_ = std::exchange(other.emptied_, false);
  return *this;
}

Socket::~Socket() {
  dispose(false);
}

void Socket::reset() noexcept {
  dispose(true);
}

void Socket::dispose(bool abortive) noexcept {
  invariant(in_flight_ == 0, "a socket is closed when no operation is in flight", in_flight_);
  if (index_ < 0) return;
  const int index = std::exchange(index_, -1);
  if (std::exchange(in_table_, false)) {
    ring_->close_slot(index, abortive);
    return;
  }
  if (abortive) {
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(index, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  ::close(index);
}

Result<SocketAddress> Socket::peer_address() const noexcept {
  return ask_address(
      [](int fd, sockaddr* address, socklen_t* size) { return ::getpeername(fd, address, size); });
}

Result<SocketAddress> Socket::local_address() const noexcept {
  return ask_address(
      [](int fd, sockaddr* address, socklen_t* size) { return ::getsockname(fd, address, size); });
}

Result<SocketAddress> Socket::ask_address(AskAddress ask) const noexcept {
  if (in_table_) return failure(EOPNOTSUPP);
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (ask(index_, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return failure(errno);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&storage), size);
}

}  // namespace sallyport::iouring
