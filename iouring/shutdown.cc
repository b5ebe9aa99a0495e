#include "iouring/shutdown.h"

#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "iouring/file_descriptor.h"
#include "iouring/socket.h"

namespace sallyport::iouring {

bool ShutdownWrite::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, scope);
  if (scope != nullptr && scope->cancelled())
    result_ = -ECANCELED;
  else
    result_ = ::shutdown(socket_->descriptor(), SHUT_WR) == 0 ? 0 : -errno;
  return false;
}

void ShutdownWrite::prepare(io_uring_sqe& sqe) noexcept {
  if (through_ring_)
    io_uring_prep_shutdown(&sqe, -1, SHUT_WR);
  else
    sqe.opcode = static_cast<std::uint8_t>(Opcode::kFixedFdInstall);
  target(sqe);
}

bool ShutdownWrite::finish(int result, unsigned flags) noexcept {
  if (!through_ring_) {
    if ((result == -EMFILE || result == -ENFILE) && !cancel_requested()) {
      through_ring_ = true;
      submit();
      return false;
    }
    if (result >= 0) {
      const FileDescriptor installed(result);
      result = ::shutdown(installed.get(), SHUT_WR) == 0 ? 0 : -errno;
    }
  }
  return SocketOperation::finish(result, flags);
}

}  // namespace sallyport::iouring
