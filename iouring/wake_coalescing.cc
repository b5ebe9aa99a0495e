#include "iouring/wake_coalescing.h"

#include <algorithm>

namespace sallyport::iouring {

namespace {

constexpr unsigned kMost = 32;
// Of what is pending. Eight connections that wait for each other's turn would otherwise all be
// waited for, and their clients with them; most of the saving is in the first few.
constexpr std::size_t kShare = 6;
// Completions that must be expected within the longest wait: a single client that sends one request
// at a time is answered at once.
constexpr unsigned kExpected = 4;
constexpr unsigned kFullBeforeMore = 8;
constexpr int kSmoothing = 16;

}  // namespace

unsigned WakeCoalescing::wanted(std::size_t pending) const noexcept {
  if (per_completion_ * kExpected >= longest_) return 1;
  return static_cast<unsigned>(std::clamp<std::size_t>(pending / kShare, 1, wanted_));
}

void WakeCoalescing::ended(unsigned wanted, unsigned completions,
                           std::chrono::nanoseconds turn) noexcept {
  // However long a pause was, it says only that the ring is not busy: a busy one is known again
  // after a few completions.
  const std::chrono::nanoseconds each =
      std::min(turn / std::max(completions, 1U), longest_ * kExpected);
  per_completion_ += (each - per_completion_) / kSmoothing;

  if (completions < wanted) {
    wanted_ = std::max(completions / 2, 1U);
    full_ = 0;
  } else if (++full_ == kFullBeforeMore) {
    wanted_ = std::min(wanted_ + 1, kMost);
    full_ = 0;
  }
}

}  // namespace sallyport::iouring
