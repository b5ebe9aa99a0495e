#pragma once
// The base of the operations on a socket. They know the socket only by name, so that socket.h can
// include them.
#include <coroutine>
#include <cstddef>

#include "iouring/operation.h"
#include "iouring/result.h"

namespace sallyport::iouring {

class Socket;

/// Counted by its socket while it is in flight. An empty socket gives EBADF.
class SocketOperation : public Operation {
 protected:
  explicit SocketOperation(Socket& socket) noexcept;
  ~SocketOperation() = default;
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  void on_ready() noexcept override;
  /// Sets the entry's descriptor: an ordinary one, or a slot of the table and the flag for it.
  void target(io_uring_sqe& sqe) const noexcept;
  [[nodiscard]] Result<std::size_t> count_or_error() const noexcept;
  [[nodiscard]] Result<> done_or_error() const noexcept;

  Socket* socket_;
};

}  // namespace sallyport::iouring
