#include "gateway/connection/handshake_slots.h"

#include <cerrno>

namespace sallyport::gateway {

void HandshakeSlots::add(Enter& enter) {
  const auto [place, added] = networks_.try_emplace(enter.address_, enter.address_);
  Network& network = place->second;
  if (added) turns_.push_back(network);
  network.waiting.push_back(enter.place_);
  enter.network_ = &network;
}

void HandshakeSlots::remove(Enter& enter) noexcept {
  enter.place_.unlink();
  Network& network = *std::exchange(enter.network_, nullptr);
  if (!network.waiting.empty()) return;
  network.unlink();
  networks_.erase(network.address);
}

void HandshakeSlots::leave() noexcept {
  if (turns_.empty() || in_use_ > most_) {
    --in_use_;
    return;
  }
  // The slot passes on: in_use_ stays.
  Network& network = turns_.pop_front();
  turns_.push_back(network);
  Enter& next = *network.waiting.front().enter;
  remove(next);
  next.entered_ = true;
  static_cast<iouring::ListNode&>(next).unlink();  // from its scope
  ring_->make_ready(next);
}

bool HandshakeSlots::Enter::wait(std::coroutine_handle<> awaiting, iouring::CancelScope* scope) {
  if (scope != nullptr && scope->cancelled()) return false;
  slots_->add(*this);
  awaiting_ = awaiting;
  if (scope != nullptr) scope->add(*this);
  return true;
}

void HandshakeSlots::Enter::on_cancel() noexcept {
  slots_->remove(*this);
  slots_->ring_->make_ready(*this);
}

iouring::Result<HandshakeSlots::Slot> HandshakeSlots::Enter::await_resume() noexcept {
  if (!entered_) return iouring::failure(ECANCELED);
  return Slot(*slots_);
}

}  // namespace sallyport::gateway
