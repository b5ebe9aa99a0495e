#pragma once
// Receiving into the caller's memory: recv(2) and recvmsg(2).
#include <sys/socket.h>

#include <cstddef>
#include <span>

#include "iouring/socket_operation.h"

namespace sallyport::iouring {

/// Polls before it receives when the last receive emptied the socket; otherwise tries at once.
class ReceiveOperation : public SocketOperation {
 protected:
  using SocketOperation::SocketOperation;
  ~ReceiveOperation() = default;
  /// Sets IORING_RECVSEND_POLL_FIRST when the socket was emptied.
  void poll_first(io_uring_sqe& sqe) const noexcept;
  /// Notes on the socket whether it was emptied or has more.
  void note_more(int result, unsigned flags, std::size_t room) noexcept;
};

/// Socket::recv() into the caller's memory.
class [[nodiscard]] Recv final : public ReceiveOperation {
 public:
  Recv(Socket& socket, std::span<std::byte> room, int flags) noexcept
      : ReceiveOperation(socket), room_(room), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  std::span<std::byte> room_;
  int flags_;
};

/// Socket::recvmsg().
class [[nodiscard]] RecvMsg final : public ReceiveOperation {
 public:
  RecvMsg(Socket& socket, msghdr& message, int flags) noexcept
      : ReceiveOperation(socket), message_(&message), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  msghdr* message_;
  int flags_;
};

}  // namespace sallyport::iouring
