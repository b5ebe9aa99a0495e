#pragma once
// Socket options as an operation, which reaches sockets in the registered table too.
#include <coroutine>
#include <cstddef>
#include <span>

#include "iouring/socket_operation.h"

namespace sallyport::iouring {

/// Socket::set_option() and Socket::clear_error(). A system call on an ordinary descriptor; through
/// the ring in the table.
class [[nodiscard]] SocketOption final : public SocketOperation {
 public:
  /// An empty `value`: reads SO_ERROR, which clears it.
  SocketOption(Socket& socket, int level, int name, std::span<const std::byte> value) noexcept
      : SocketOperation(socket), level_(level), name_(name), value_(value) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  int level_;
  int name_;
  std::span<const std::byte> value_;
  int error_ = 0;
};

}  // namespace sallyport::iouring
