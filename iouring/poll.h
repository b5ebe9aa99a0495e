#pragma once
// Waiting for events of poll(2); reading and writing are left to the caller.
#include "iouring/operation.h"
#include "iouring/socket_operation.h"

namespace sallyport::iouring {

/// `Result<> readable = co_await Readable(ring, fd);` (IORING_OP_POLL_ADD). For inotify and
/// signalfd, which the ring could read only on a worker thread. `fd` stays open meanwhile.
class [[nodiscard]] Readable final : public Operation {
 public:
  Readable(Ring& ring, int fd) noexcept : Operation(&ring), fd_(fd) {}
  Result<> await_resume() const noexcept {
    if (result_ < 0) return failure(result_);
    return {};
  }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  int fd_;
};

/// Socket::ready().
class [[nodiscard]] SocketReady final : public SocketOperation {
 public:
  SocketReady(Socket& socket, short events) noexcept : SocketOperation(socket), events_(events) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  short events_;
};

}  // namespace sallyport::iouring
