#include "iouring/inbox.h"

#include <unistd.h>

#include <cstdint>
#include <utility>

namespace sallyport::iouring {

Result<std::unique_ptr<Inbox>> Inbox::create(Ring& ring) {
  const Result<int> bell = ring.bell();
  if (!bell) return failure(bell.error().value);
  return std::unique_ptr<Inbox>(new Inbox(ring, *bell));
}

Inbox::Inbox(Ring& ring, int bell) : ring_(&ring), bell_(bell) {
  ring.add_inbox(*this);
}

Inbox::~Inbox() {
  ring_->remove_inbox(*this);
  for (Letter* letter = take_all(); letter != nullptr;) delete std::exchange(letter, letter->next);
}

void Inbox::post(Message message) {
  auto* letter = new Letter{std::move(message), letters_.load(std::memory_order_relaxed)};
  Letter* before = letter->next;
  while (!letters_.compare_exchange_weak(before, letter, std::memory_order_release,
                                         std::memory_order_relaxed))
    letter->next = before;
  // From here on the letter may be gone. Whoever found the box empty rings for all that follow.
  if (before != nullptr) return;
  const std::uint64_t once = 1;
  [[maybe_unused]] const ssize_t rung = ::write(bell_, &once, sizeof once);
}

Inbox::Letter* Inbox::take_all() noexcept {
  Letter* newest = letters_.exchange(nullptr, std::memory_order_acquire);
  Letter* oldest = nullptr;
  while (newest != nullptr) {
    Letter* next = std::exchange(newest->next, oldest);
    oldest = std::exchange(newest, next);
  }
  return oldest;
}

void Inbox::run_posted() {
  for (Letter* letter = take_all(); letter != nullptr;) {
    const std::unique_ptr<Letter> owned(letter);
    letter = letter->next;
    owned->message();
  }
}

}  // namespace sallyport::iouring
