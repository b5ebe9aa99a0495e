#include "iouring/socket_option.h"

#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "iouring/socket.h"
#include "iouring/socket_command.h"

namespace sallyport::iouring {

bool SocketOption::begin(std::coroutine_handle<> awaiting, CancelScope* /*scope*/) noexcept {
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, nullptr);
  socklen_t size = sizeof error_;
  const int done = value_.empty()
                       ? ::getsockopt(socket_->descriptor(), level_, name_, &error_, &size)
                       : ::setsockopt(socket_->descriptor(), level_, name_, value_.data(),
                                      static_cast<socklen_t>(value_.size()));
  result_ = done == 0 ? 0 : -errno;
  return false;
}

void SocketOption::prepare(io_uring_sqe& sqe) noexcept {
  const bool get = value_.empty();
  prepare_socket_option(sqe, get ? kGetSockOpt : kSetSockOpt, level_, name_,
                        get ? static_cast<const void*>(&error_) : value_.data(),
                        static_cast<std::uint32_t>(get ? sizeof error_ : value_.size()));
  target(sqe);
}

}  // namespace sallyport::iouring
