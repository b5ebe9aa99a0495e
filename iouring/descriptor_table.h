#pragma once
// Between an ordinary descriptor and a slot of the ring's registered table.
#include <coroutine>

#include "iouring/file_descriptor.h"
#include "iouring/socket_operation.h"

namespace sallyport::iouring {

class [[nodiscard]] ToTable final : public SocketOperation {
 public:
  explicit ToTable(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  int slot_ = -1;  // in: the descriptor, out: its slot
};

class [[nodiscard]] Install final : public SocketOperation {
 public:
  explicit Install(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<FileDescriptor> await_resume() noexcept;

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
};

}  // namespace sallyport::iouring
