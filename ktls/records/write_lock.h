#pragma once

#include <coroutine>
#include <utility>

#include "iouring/cancel.h"
#include "iouring/invariant.h"
#include "iouring/ring.h"

namespace sallyport::ktls {

/// Who may write to a socket: one holder at a time, and at most one more who waits for it. The
/// holder always ends by itself, and soon when cancelled, so that the wait needs no cancelling.
class Turn {
 public:
  class Wait;

  explicit Turn(iouring::Ring& ring) noexcept : ring_(ring) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// `co_await turn.mine();` until nobody else has it.
  Wait mine() noexcept;
  /// Takes it if nobody has it.
  bool try_mine() noexcept { return !std::exchange(taken_, true); }
  bool taken() const noexcept { return taken_; }
  void end() noexcept;

 private:
  iouring::Ring& ring_;
  Wait* waiting_ = nullptr;
  bool taken_ = false;
};

class Turn::Wait final : private iouring::Waiter {
 public:
  explicit Wait(Turn& turn) noexcept : turn_(turn) {}
  bool await_ready() const noexcept { return !turn_.taken_; }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept {
    iouring::invariant(turn_.waiting_ == nullptr, "one send at a time on a record layer");
    awaiting_ = awaiting;
    turn_.waiting_ = this;
  }
  void await_resume() noexcept { turn_.taken_ = true; }

 private:
  friend class Turn;
  void on_cancel() noexcept override {}
  void on_ready() noexcept override { awaiting_.resume(); }

  Turn& turn_;
  std::coroutine_handle<> awaiting_;
};

inline Turn::Wait Turn::mine() noexcept {
  return Wait(*this);
}

inline void Turn::end() noexcept {
  if (waiting_ == nullptr) {
    taken_ = false;
    return;
  }
  ring_.make_ready(*std::exchange(waiting_, nullptr));  // still taken, so that nobody comes between
}

}  // namespace sallyport::ktls
