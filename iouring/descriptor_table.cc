#include "iouring/descriptor_table.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "iouring/invariant.h"
#include "iouring/socket.h"

namespace sallyport::iouring {

bool ToTable::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  invariant(socket_->in_flight_ == 0, "a socket moves when no operation is in flight",
            socket_->in_flight_);
  const bool moves = *socket_ && !socket_->in_table() && socket_->ring().table_size() > 0;
  if (*socket_ && !moves) return false;
  return SocketOperation::begin(awaiting, scope);
}

void ToTable::prepare(io_uring_sqe& sqe) noexcept {
  slot_ = socket_->index_;
  io_uring_prep_files_update(&sqe, &slot_, 1, 0);
  sqe.off = IORING_FILE_INDEX_ALLOC;
}

bool ToTable::finish(int result, unsigned flags) noexcept {
  if (result == 0) result = -ENFILE;
  if (result > 0) {
    ::close(socket_->index_);
    socket_->index_ = slot_;
    socket_->in_table_ = true;
    ring().slot_taken();
  }
  return SocketOperation::finish(result, flags);
}

bool Install::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, scope);
  if (scope != nullptr && scope->cancelled()) {
    result_ = -ECANCELED;
  } else {
    result_ = ::fcntl(socket_->descriptor(), F_DUPFD_CLOEXEC, 0);
    if (result_ < 0) result_ = -errno;
  }
  return false;
}

void Install::prepare(io_uring_sqe& sqe) noexcept {
  sqe.opcode =
      static_cast<std::uint8_t>(Opcode::kFixedFdInstall);  // O_CLOEXEC unless told otherwise
  target(sqe);
}

Result<FileDescriptor> Install::await_resume() noexcept {
  if (result_ < 0) return failure(result_);
  return FileDescriptor(result_);
}

}  // namespace sallyport::iouring
