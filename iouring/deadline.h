#pragma once
// Time limits: expiry is a cancel.
#include <chrono>
#include <coroutine>

#include "iouring/cancel.h"
#include "iouring/ring.h"
#include "iouring/task.h"
#include "iouring/timer_wheel.h"

namespace sallyport::iouring {

/// Cancels a scope when its time has come. Arm it again with every relayed chunk: a later expiry is
/// only noted, and the wheel looks at it when the earlier one comes round. Coarse
/// (TimerWheel::kTick), measured from the ring's cached now(). Must not outlive ring or scope.
class Deadline final : private Timer {
 public:
  Deadline(Ring& ring, CancelScope& scope) noexcept : ring_(&ring), scope_(&scope) {}
  ~Deadline() { disarm(); }

  /// Expires `after` from now; replaces what was set before. Not after it has expired.
  void arm(std::chrono::milliseconds after) noexcept;
  void arm_at(TimePoint when) noexcept;
  void disarm() noexcept;

  /// It was this deadline that cancelled the scope. Stays true.
  [[nodiscard]] bool expired() const noexcept { return expired_; }
  [[nodiscard]] bool armed() const noexcept { return Timer::armed(); }

 private:
  void on_expiry() noexcept override;

  bool expired_ = false;
  Ring* ring_;
  CancelScope* scope_;
  TimePoint expiry_{};  // what the user wants; the wheel has it there or earlier
};

/// `Result<> slept = co_await sleep_for(ring, 10ms);`: ECANCELED when its scope was cancelled
/// first.
class [[nodiscard]] SleepFor final : private Waiter, private Timer {
 public:
  SleepFor(Ring& ring, std::chrono::milliseconds duration) noexcept
      : ring_(&ring), duration_(duration) {}
  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) noexcept {
    return start(awaiting, scope_of(awaiting));
  }
  Result<> await_resume() const noexcept;

 private:
  bool start(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept;
  void on_cancel() noexcept override;
  void on_ready() noexcept override;
  void on_expiry() noexcept override;

  Ring* ring_;
  std::chrono::milliseconds duration_;
  std::coroutine_handle<> awaiting_;
  bool cancelled_ = false;
};

[[nodiscard]] inline SleepFor sleep_for(Ring& ring, std::chrono::milliseconds duration) noexcept {
  return {ring, duration};
}

}  // namespace sallyport::iouring
