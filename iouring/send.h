#pragma once
// Sending: send(2) and sendmsg(2), once or until everything is sent.
#include <sys/socket.h>
#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <span>

#include "iouring/socket_operation.h"

namespace sallyport::iouring {

/// Socket::send().
class [[nodiscard]] Send final : public SocketOperation {
 public:
  Send(Socket& socket, std::span<const std::byte> bytes, int flags) noexcept
      : SocketOperation(socket), bytes_(bytes), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  std::span<const std::byte> bytes_;
  int flags_;
};

/// Socket::sendmsg().
class [[nodiscard]] SendMsg final : public SocketOperation {
 public:
  SendMsg(Socket& socket, const msghdr& message, int flags) noexcept
      : SocketOperation(socket), message_(&message), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  const msghdr* message_;
  int flags_;
};

/// A send that submits itself again until nothing is left. A cancel between two submissions ends
/// it.
class RepeatedSend : public SocketOperation {
 public:
  Result<> await_resume() const noexcept { return done_or_error(); }

 protected:
  using SocketOperation::SocketOperation;
  ~RepeatedSend() = default;
  /// To be called once what was sent is taken off: submits the `rest`, if any, or finishes.
  bool finish_or_send_rest(int result, unsigned flags, bool rest) noexcept;
};

/// Socket::send_all() of one piece.
class [[nodiscard]] SendAll final : public RepeatedSend {
 public:
  SendAll(Socket& socket, std::span<const std::byte> bytes, int flags) noexcept
      : RepeatedSend(socket), rest_(bytes), flags_(flags) {}

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  std::span<const std::byte> rest_;
  int flags_;
};

/// Socket::send_all() of several pieces.
class [[nodiscard]] SendAllVector final : public RepeatedSend {
 public:
  SendAllVector(Socket& socket, std::span<iovec> pieces) noexcept
      : RepeatedSend(socket), rest_(pieces) {}

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  /// Takes `sent` bytes and the empty pieces behind them off rest_.
  void skip(std::size_t sent) noexcept;
  std::span<iovec> rest_;
  msghdr message_{};
};

}  // namespace sallyport::iouring
