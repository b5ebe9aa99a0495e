#include "iouring/socket_operation.h"

#include <liburing.h>

#include <cerrno>

#include "iouring/socket.h"

namespace sallyport::iouring {

SocketOperation::SocketOperation(Socket& socket) noexcept
    : Operation(socket.ring_), socket_(&socket) {}

bool SocketOperation::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (!*socket_) {
    result_ = -EBADF;
    return false;
  }
  if (!Operation::begin(awaiting, scope)) return false;
  ++socket_->in_flight_;
  return true;
}

bool SocketOperation::finish(int result, unsigned /*flags*/) noexcept {
  result_ = result;
  --socket_->in_flight_;
  return true;
}

void SocketOperation::on_ready() noexcept {
  --socket_->in_flight_;
  Operation::on_ready();
}

void SocketOperation::target(io_uring_sqe& sqe) const noexcept {
  sqe.fd = socket_->index_;
  if (socket_->in_table_) sqe.flags |= IOSQE_FIXED_FILE;
}

Result<std::size_t> SocketOperation::count_or_error() const noexcept {
  if (result_ < 0) return failure(result_);
  return static_cast<std::size_t>(result_);
}

Result<> SocketOperation::done_or_error() const noexcept {
  if (result_ < 0) return failure(result_);
  return {};
}

}  // namespace sallyport::iouring
