#pragma once
// Wake-ups of a busy ring, several completions each: what interrupt coalescing is for a network
// card. A core that is woken for each completion spends more on waking than on the work; where
// completions come quickly, waiting for a few of them costs each of these a moment and saves most
// of that.
//
// Pure: no clock, no ring. Thread: the ring's.
#include <chrono>
#include <cstddef>

namespace sallyport::iouring {

class WakeCoalescing {
 public:
  /// `longest`: how long a completion may wait for others; 0 switches coalescing off.
  explicit WakeCoalescing(std::chrono::nanoseconds longest = {}) noexcept : longest_(longest) {}

  [[nodiscard]] std::chrono::nanoseconds longest() const noexcept { return longest_; }

  /// For how many completions to wait, where `pending` operations have none yet; no longer than
  /// longest() when these are several.
  [[nodiscard]] unsigned wanted(std::size_t pending) const noexcept;

  /// A wait for `wanted` ended with `completions`; it began `turn` after the one before it.
  void ended(unsigned wanted, unsigned completions, std::chrono::nanoseconds turn) noexcept;

 private:
  std::chrono::nanoseconds longest_;
  std::chrono::nanoseconds per_completion_ = std::chrono::seconds(1);  // smoothed
  unsigned wanted_ = 1;
  unsigned full_ = 0;  // waits that got what they wanted, since wanted_ changed
};

}  // namespace sallyport::iouring
