#pragma once
// Half-close: shutdown(2) of the sending side.
#include <coroutine>

#include "iouring/socket_operation.h"

namespace sallyport::iouring {

/// Socket::shutdown_write(). A system call on an ordinary descriptor. In the table it installs a
/// descriptor for the call; without a free one it goes through the ring.
class [[nodiscard]] ShutdownWrite final : public SocketOperation {
 public:
  explicit ShutdownWrite(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  bool through_ring_ = false;  // no descriptor was free
};

}  // namespace sallyport::iouring
