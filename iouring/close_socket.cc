#include "iouring/close_socket.h"

#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "iouring/invariant.h"
#include "iouring/socket.h"

namespace sallyport::iouring {

bool CloseSocket::begin(std::coroutine_handle<> awaiting, CancelScope* /*scope*/) noexcept {
  invariant(socket_->in_flight_ == 0, "a socket is closed when no operation is in flight",
            socket_->in_flight_);
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, nullptr);
  result_ = ::close(std::exchange(socket_->index_, -1)) == 0 ? 0 : -errno;
  return false;
}

void CloseSocket::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_close_direct(&sqe, static_cast<unsigned>(socket_->index_));
}

bool CloseSocket::finish(int result, unsigned flags) noexcept {
  socket_->index_ = -1;
  socket_->in_table_ = false;
  ring().slot_freed();
  return SocketOperation::finish(result, flags);
}

}  // namespace sallyport::iouring
