#pragma once
// Time limits: one that expires cancels a scope.
#include <chrono>
#include <coroutine>

#include "iouring/cancel.h"
#include "iouring/ring.h"
#include "iouring/task.h"
#include "iouring/timer_wheel.h"

namespace sallyport::iouring {

/// Cancels a scope when it expires. Cheap to arm again with every relayed chunk: a later expiry is
/// only stored, and checked when the timer fires at the earlier one. Coarse (TimerWheel::kTick),
/// measured from the ring's cached now(). Must not outlive ring or scope.
class Deadline final : private Timer {
 public:
  Deadline(Ring& ring, CancelScope& scope) noexcept : ring_(&ring), scope_(&scope) {}
  ~Deadline() { disarm(); }

  /// Expires `after` from now; replaces what was set before. Ignored once expired.
  void arm(std::chrono::milliseconds after) noexcept;
  void arm_at(TimePoint when) noexcept;
  void disarm() noexcept;

  /// Whether it has expired, and so cancelled its scope. Stays true.
  [[nodiscard]] bool expired() const noexcept { return expired_; }
  [[nodiscard]] bool armed() const noexcept { return Timer::armed(); }

 private:
  void on_expiry() noexcept override;

  bool expired_ = false;
  Ring* ring_;
  CancelScope* scope_;
  TimePoint expiry_{};  // as armed; the timer is in the wheel for this time or an earlier one
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
