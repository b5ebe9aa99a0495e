#pragma once
// Waiting for a loop iteration, for tests: what is pending can happen meanwhile.
#include <coroutine>
#include <cstdint>

#include "iouring/cancel.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// Resumes in the ready phase of a later iteration, behind the completions of that iteration. Not
/// cancelled: resumes even in a cancelled scope.
class [[nodiscard]] NextIteration final : private Waiter {
 public:
  explicit NextIteration(Ring& ring) noexcept : ring_(&ring) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept {
    awaiting_ = awaiting;
    begun_ = ring_->iterations();
    ring_->make_ready(*this);
  }
  void await_resume() const noexcept {}

 private:
  void on_cancel() noexcept override {}
  void on_ready() noexcept override {
    // Awaited while the completions of this iteration were dispatched.
    if (ring_->iterations() == begun_)
      ring_->make_ready(*this);
    else
      awaiting_.resume();
  }

  Ring* ring_;
  std::coroutine_handle<> awaiting_;
  std::uint64_t begun_ = 0;
};

/// `co_await next_iteration(ring);`
[[nodiscard]] inline NextIteration next_iteration(Ring& ring) noexcept {
  return NextIteration(ring);
}

inline Task<void> cancel_soon(Ring& ring, CancelScope& scope) {
  co_await next_iteration(ring);
  scope.cancel();
}

/// Cancels what has begun to wait by then.
inline Task<void> cancel_later(Ring& ring, CancelScope& scope) {
  for (int i = 0; i < 5; ++i) co_await next_iteration(ring);
  scope.cancel();
}

}  // namespace sallyport::iouring
