#include "gateway/connection/fair_slots.h"

#include <cerrno>

namespace sallyport::gateway {

void FairSlots::add(Enter& enter) {
  const auto [place, added] = groups_.try_emplace(enter.key_, enter.key_);
  Group& group = place->second;
  if (added) turns_.push_back(group);
  group.waiting.push_back(enter.place_);
  enter.group_ = &group;
}

void FairSlots::remove(Enter& enter) noexcept {
  enter.place_.unlink();
  Group& group = *std::exchange(enter.group_, nullptr);
  if (!group.waiting.empty()) return;
  group.unlink();
  groups_.erase(group.key);
}

void FairSlots::leave() noexcept {
  if (turns_.empty() || in_use_ > most_) {
    --in_use_;
    return;
  }
  // The slot passes on: in_use_ stays.
  Group& group = turns_.pop_front();
  turns_.push_back(group);
  Enter& next = *group.waiting.front().enter;
  remove(next);
  next.entered_ = true;
  static_cast<iouring::ListNode&>(next).unlink();  // from its scope
  ring_->make_ready(next);
}

bool FairSlots::Enter::wait(std::coroutine_handle<> awaiting, iouring::CancelScope* scope) {
  if (scope != nullptr && scope->cancelled()) return false;
  slots_->add(*this);
  awaiting_ = awaiting;
  if (scope != nullptr) scope->add(*this);
  return true;
}

void FairSlots::Enter::on_cancel() noexcept {
  slots_->remove(*this);
  slots_->ring_->make_ready(*this);
}

iouring::Result<FairSlots::Slot> FairSlots::Enter::await_resume() noexcept {
  if (!entered_) return iouring::failure(ECANCELED);
  return Slot(*slots_);
}

}  // namespace sallyport::gateway
