#pragma once
// What all operations on a socket share.
#include <coroutine>
#include <cstddef>

#include "iouring/operation.h"
#include "iouring/result.h"

namespace sallyport::iouring {

class Socket;

/// Counts itself on the socket while it is in flight.
class SocketOperation : public Operation {
 protected:
  explicit SocketOperation(Socket& socket) noexcept;
  ~SocketOperation() = default;
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  void on_ready() noexcept override;
  /// Sets descriptor and flags of the entry.
  void target(io_uring_sqe& sqe) const noexcept;
  [[nodiscard]] Result<std::size_t> count_or_error() const noexcept;
  [[nodiscard]] Result<> done_or_error() const noexcept;

  Socket* socket_;
};

}  // namespace sallyport::iouring
