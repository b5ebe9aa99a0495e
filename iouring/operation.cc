#include "iouring/operation.h"

#include <liburing.h>

#include <cerrno>

namespace sallyport::iouring {

Operation::~Operation() {
  invariant(!in_flight_, "an operation lives until its completion has come");
}

bool Operation::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (scope != nullptr) {
    if (scope->cancelled()) {
      result_ = -ECANCELED;
      return false;
    }
    scope->add(*this);
  }
  awaiting_ = awaiting;
  submit();
  return true;
}

void Operation::submit() noexcept {
  invariant(!in_flight_, "an operation is submitted once at a time");
  io_uring_sqe& sqe = ring_->take_sqe();
  prepare(sqe);
  in_flight_ = true;
  ring_->submit(*this, sqe);
}

void Operation::submit_again() noexcept {
  cancel_requested_ = false;
  submit();
}

void Operation::take_completion(int result, unsigned flags) noexcept {
  if ((flags & IORING_CQE_F_MORE) == 0) in_flight_ = false;
  if (!finish(result, flags)) return;
  unlink();
  awaiting_.resume();
}

bool Operation::finish(int result, unsigned /*flags*/) noexcept {
  result_ = result;
  return true;
}

void Operation::on_cancel() noexcept {
  if (cancel_requested_) return;
  cancel_requested_ = true;
  if (in_flight_) ring_->submit_cancel(*this);
}

void Operation::on_ready() noexcept {
  awaiting_.resume();
}

}  // namespace sallyport::iouring
