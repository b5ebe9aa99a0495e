#include "gateway/backends/address_health.h"

#include <algorithm>
#include <chrono>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kFirstAvoidance = 1s;
constexpr std::chrono::nanoseconds kLongestAvoidance = 30s;
constexpr std::chrono::nanoseconds kForgottenAfter = 5min;

std::int64_t avoidance(std::uint32_t failures) noexcept {
  constexpr std::uint32_t kDoublings = 5;  // beyond the longest
  return std::min(kFirstAvoidance * (1 << std::min(failures - 1, kDoublings)), kLongestAvoidance)
      .count();
}

}  // namespace

bool AddressHealth::claim_trial(TimePoint now) noexcept {
  const std::uint32_t failures = failures_.load(std::memory_order_relaxed);
  std::int64_t until = avoid_until_.load(std::memory_order_relaxed);
  if (failures == 0 || nanoseconds(now) < until) return false;
  const bool forgotten = nanoseconds(now) - until > kForgottenAfter.count();
  const std::uint32_t counted = forgotten ? 1 : failures + 1;
  if (!avoid_until_.compare_exchange_strong(until, nanoseconds(now) + avoidance(counted),
                                            std::memory_order_relaxed)) {
    return false;
  }
  // Not where a connect has succeeded meanwhile.
  std::uint32_t expected = failures;
  failures_.compare_exchange_strong(expected, counted, std::memory_order_relaxed);
  return true;
}

// Of many connections that fail at once, and of a trial that fails, it is told once.
void AddressHealth::failed(TimePoint now, int error) noexcept {
  error_.store(error, std::memory_order_relaxed);
  if (avoided(now)) return;
  if (!failing()) {
    avoid_until_.store(nanoseconds(now) + avoidance(1), std::memory_order_relaxed);
    failures_.store(1, std::memory_order_relaxed);
    return;
  }
  // Tried for want of another, after the avoidance: as good as a trial.
  [[maybe_unused]] const bool claimed = claim_trial(now);
}

}  // namespace sallyport::gateway
