#pragma once

#include <atomic>
#include <cstdint>

#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

/// Whether connects to an address fail, remembered for all shards and all routes that have it. One
/// that failed is avoided for a second; then one connection tries it again, and each time that this
/// fails the others avoid it for twice as long, at most 30 s. A connect that succeeds forgets it
/// all; so do five minutes without a failure. Any thread; no lock.
class AddressHealth {
 public:
  using TimePoint = iouring::TimePoint;

  /// It failed, and no connect has succeeded since.
  [[nodiscard]] bool failing() const noexcept {
    return failures_.load(std::memory_order_relaxed) != 0;
  }
  /// It is failing, and not yet to be tried again.
  [[nodiscard]] bool avoided(TimePoint now) const noexcept {
    return failing() && nanoseconds(now) < avoid_until_.load(std::memory_order_relaxed);
  }
  /// True for the one connection that is to try again a failing address. The others avoid it
  /// meanwhile, longer than before.
  [[nodiscard]] bool claim_trial(TimePoint now) noexcept;

  /// The errno of the latest failure.
  [[nodiscard]] int error() const noexcept { return error_.load(std::memory_order_relaxed); }

  void failed(TimePoint now, int error) noexcept;
  void succeeded() noexcept {
    if (failing()) failures_.store(0, std::memory_order_relaxed);
  }

 private:
  static std::int64_t nanoseconds(TimePoint time) noexcept {
    return time.time_since_epoch().count();
  }

  std::atomic<std::uint32_t> failures_{0};  ///< in a row
  std::atomic<int> error_{0};
  std::atomic<std::int64_t> avoid_until_{0};  ///< nanoseconds of TimePoint's clock
};

}  // namespace sallyport::gateway
