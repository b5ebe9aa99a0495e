#pragma once
// Closing a socket and waiting until it is closed.
#include <coroutine>

#include "iouring/socket_operation.h"

namespace sallyport::iouring {

class [[nodiscard]] CloseSocket final : public SocketOperation {
 public:
  explicit CloseSocket(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
};

}  // namespace sallyport::iouring
