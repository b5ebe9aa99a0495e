#pragma once
// The ring's registered descriptor table: moving a socket into it, and a descriptor out of it.
#include <coroutine>

#include "iouring/file_descriptor.h"
#include "iouring/socket_operation.h"

namespace sallyport::iouring {

/// Socket::to_table().
class [[nodiscard]] ToTable final : public SocketOperation {
 public:
  explicit ToTable(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  int slot_ = -1;  // IORING_OP_FILES_UPDATE reads the descriptor here and writes the slot
};

/// Socket::install(). dup(2) of an ordinary descriptor; IORING_OP_FIXED_FD_INSTALL in the table.
class [[nodiscard]] Install final : public SocketOperation {
 public:
  explicit Install(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<FileDescriptor> await_resume() noexcept;

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
};

}  // namespace sallyport::iouring
