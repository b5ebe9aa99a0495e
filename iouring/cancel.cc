#include "iouring/cancel.h"

namespace sallyport::iouring {

CancelScope::CancelScope(CancelScope* parent) noexcept {
  if (parent == nullptr) return;
  if (parent->cancelled())
    cancelled_ = true;
  else
    parent->add(*this);
}

CancelScope::~CancelScope() {
  invariant(waiters_.empty(), "a cancel scope outlives what waits under it");
  unlink();
}

void CancelScope::cancel() noexcept {
  if (cancelled_) return;
  cancelled_ = true;
  while (!waiters_.empty()) waiters_.pop_front().on_cancel();
}

void CancelScope::add(Waiter& waiter) noexcept {
  invariant(!cancelled_, "nothing starts to wait under a cancelled scope");
  waiters_.push_back(waiter);
}

}  // namespace sallyport::iouring
