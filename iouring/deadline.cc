#include "iouring/deadline.h"

#include <cerrno>

namespace sallyport::iouring {

void Deadline::arm(std::chrono::milliseconds after) noexcept {
  arm_at(ring_->now() + after);
}

void Deadline::arm_at(TimePoint when) noexcept {
  if (expired_) return;
  expiry_ = when;
  // The usual case, once per relayed chunk: the timer fires earlier and on_expiry() checks again.
  if (armed() && tick() <= ring_->timers().tick_of(when)) return;
  ring_->timers().arm(*this, when);
}

void Deadline::disarm() noexcept {
  ring_->timers().disarm(*this);
}

void Deadline::on_expiry() noexcept {
  if (ring_->timers().tick_of(expiry_) > tick()) {
    ring_->timers().arm(*this, expiry_);
    return;
  }
  expired_ = true;
  scope_->cancel();
}

bool SleepFor::start(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (scope != nullptr) {
    cancelled_ = scope->cancelled();
    if (cancelled_) return false;
    scope->add(*this);
  }
  awaiting_ = awaiting;
  ring_->timers().arm(*this, ring_->now() + duration_);
  return true;
}

void SleepFor::on_cancel() noexcept {
  ring_->timers().disarm(*this);
  cancelled_ = true;
  ring_->make_ready(*this);
}

void SleepFor::on_expiry() noexcept {
  Waiter::unlink();
  ring_->make_ready(*this);
}

void SleepFor::on_ready() noexcept {
  awaiting_.resume();
}

Result<> SleepFor::await_resume() const noexcept {
  if (cancelled_) return failure(ECANCELED);
  return {};
}

}  // namespace sallyport::iouring
