#pragma once
// Giving way: a long piece of work goes on after what came meanwhile.
#include <coroutine>
#include <cstdint>

#include "iouring/cancel.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// Resumes in the ready phase of the next loop iteration, behind its completions and timers. The
/// loop does not wait for events meanwhile. Not cancelled: resumes even in a cancelled scope.
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

}  // namespace sallyport::iouring
