#pragma once
// Receives of one socket, one after the other, that cost a submission and a poll of their own only
// while they are not of the kind that a multishot receive serves well.
#include <coroutine>
#include <cstdint>

#include "iouring/buffer_ring.h"
#include "iouring/socket.h"

namespace sallyport::iouring {

/// As a RecvLease, but awaited again and again, each time for the next bytes. Where messages have
/// come one at a time, each taken before the next, it stays in flight between two awaits
/// (IORING_RECV_MULTISHOT, Linux 6.0): the next message is then neither submitted nor polled for.
///
/// What comes while nobody waits must not keep buffers that other sockets need, nor come without
/// bound: it is copied, the receive is cancelled, and Socket::more_waiting() is true. More than the
/// free buffers of the ring hold does not come. Then, and before any other receive is awaited on
/// the socket: `co_await stream.ended();`, and Socket::recv(room) brings what there is. A stream
/// that this happened to is slow to stay in flight again.
///
/// Await ended() before it is destroyed, and before the socket is closed or moved.
class [[nodiscard]] RecvStream final : public BufferReceive {
 public:
  class Ended;

  RecvStream(Socket& socket, BufferRing& buffers) noexcept : BufferReceive(socket, buffers) {}

  /// From where the next receive takes its buffer, and whether that one may stay in flight. Without
  /// effect on one that is.
  void next_from(BufferRing& buffers, bool may_stay) noexcept;

  /// `co_await stream.ended();` until nothing is in flight, cancelled scope or not. What still came
  /// is received ahead.
  [[nodiscard]] Ended ended() noexcept;

 private:
  // So many messages in a row, the first time and after it was once wrong to stay.
  static constexpr std::uint8_t kCalmAtFirst = 2;
  static constexpr std::uint8_t kCalmAgain = 32;

  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  void on_ready() noexcept override;
  void receive_ahead(int result, unsigned flags) noexcept;
  void end(std::coroutine_handle<> awaiting) noexcept;

  bool may_stay_ = false;
  bool awaited_ = false;
  bool ending_ = false;
  std::uint8_t calm_ = 0;
  std::uint8_t calm_needed_ = kCalmAtFirst;
};

class [[nodiscard]] RecvStream::Ended final {
 public:
  explicit Ended(RecvStream& stream) noexcept : stream_(&stream) {}
  bool await_ready() const noexcept { return !stream_->in_flight(); }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept { stream_->end(awaiting); }
  void await_resume() const noexcept {}

 private:
  RecvStream* stream_;
};

inline RecvStream::Ended RecvStream::ended() noexcept {
  return Ended(*this);
}

}  // namespace sallyport::iouring
