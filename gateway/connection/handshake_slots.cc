#include "gateway/connection/handshake_slots.h"

#include <cerrno>

namespace sallyport::gateway {

void HandshakeSlots::leave() noexcept {
  if (queue_.empty() || in_use_ > most_) {
    --in_use_;
    return;
  }
  // The slot passes on: in_use_ stays.
  Enter& next = *queue_.pop_front().enter;
  next.entered_ = true;
  static_cast<iouring::ListNode&>(next).unlink();  // from its scope
  ring_->make_ready(next);
}

bool HandshakeSlots::Enter::wait(std::coroutine_handle<> awaiting,
                                 iouring::CancelScope* scope) noexcept {
  if (scope != nullptr && scope->cancelled()) return false;
  awaiting_ = awaiting;
  if (scope != nullptr) scope->add(*this);
  slots_->queue_.push_back(place_);
  return true;
}

void HandshakeSlots::Enter::on_cancel() noexcept {
  place_.unlink();
  slots_->ring_->make_ready(*this);
}

iouring::Result<HandshakeSlots::Slot> HandshakeSlots::Enter::await_resume() noexcept {
  if (!entered_) return iouring::failure(ECANCELED);
  return Slot(*slots_);
}

}  // namespace sallyport::gateway
