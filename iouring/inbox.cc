#include "iouring/inbox.h"

#include <unistd.h>

#include <cstdint>
#include <utility>

namespace sallyport::iouring {

Result<std::unique_ptr<Inbox>> Inbox::create(Ring& ring) {
  const Result<int> wake_descriptor = ring.wake_descriptor();
  if (!wake_descriptor) return failure(wake_descriptor.error().value);
  return std::unique_ptr<Inbox>(new Inbox(ring, *wake_descriptor));
}

Inbox::Inbox(Ring& ring, int wake_descriptor) : ring_(&ring), wake_descriptor_(wake_descriptor) {
  ring.add_inbox(*this);
}

Inbox::~Inbox() {
  ring_->remove_inbox(*this);
  for (Posted* posted = take_all(); posted != nullptr;) delete std::exchange(posted, posted->next);
}

void Inbox::post(Message message) {
  auto* posted = new Posted{std::move(message), posted_.load(std::memory_order_relaxed)};
  Posted* before = posted->next;
  while (!posted_.compare_exchange_weak(before, posted, std::memory_order_release,
                                        std::memory_order_relaxed))
    posted->next = before;
  // From here on the ring's thread may have destroyed `posted`. Only the post that found the list
  // empty wakes the ring, for all that follow.
  if (before != nullptr) return;
  const std::uint64_t once = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_descriptor_, &once, sizeof once);
}

Inbox::Posted* Inbox::take_all() noexcept {
  Posted* newest = posted_.exchange(nullptr, std::memory_order_acquire);
  Posted* oldest = nullptr;
  while (newest != nullptr) {
    Posted* next = std::exchange(newest->next, oldest);
    oldest = std::exchange(newest, next);
  }
  return oldest;
}

void Inbox::run_posted() {
  for (Posted* posted = take_all(); posted != nullptr;) {
    const std::unique_ptr<Posted> owned(posted);
    posted = posted->next;
    owned->message();
  }
}

}  // namespace sallyport::iouring
