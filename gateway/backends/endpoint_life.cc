#include "gateway/backends/endpoint_life.h"

#include <algorithm>
#include <limits>

namespace sallyport::gateway {
namespace {

// An endpoint that starts slowly begins with this part of its weight.
constexpr double kFirstPart = 0.1;
// After this time without one, an ejection is the first again.
constexpr std::chrono::nanoseconds kEjectionsForgottenAfter = std::chrono::minutes(10);

// After so many intervals without a check the checker stands still.
constexpr int kIntervalsSilent = 3;

}  // namespace

std::string_view to_string(Checked checked) {
  switch (checked) {
    case Checked::kUnknown:
      return "unknown";
    case Checked::kUp:
      return "up";
    case Checked::kDown:
      return "down";
  }
  return {};
}

Checked EndpointLife::shown(const HealthCheck& rule, TimePoint now) const noexcept {
  const std::chrono::nanoseconds told_within = kIntervalsSilent * (rule.interval + rule.timeout);
  const std::int64_t at = checked_at_.load(std::memory_order_relaxed);
  return nanoseconds(now) - at <= told_within.count() ? checked() : Checked::kUnknown;
}

void EndpointLife::count_check(CheckResult result, bool tells, TimePoint now) noexcept {
  checks_[static_cast<std::size_t>(result)].fetch_add(1, std::memory_order_relaxed);
  if (tells) checked_at_.store(nanoseconds(now), std::memory_order_relaxed);
}

void EndpointLife::set_checked(Checked checked, TimePoint now) noexcept {
  // Before what shards act on.
  if (checked == Checked::kDown) down_since_.store(nanoseconds(now), std::memory_order_relaxed);
  if (checked == Checked::kUp && this->checked() == Checked::kDown) begin(now);
  checked_.store(checked, std::memory_order_release);
}

// Two identities are kept; a third that is neither is the one that counts, and from then on each.
unsigned EndpointLife::count_reset(bool client_sent_nothing, std::uint64_t identity) noexcept {
  resets_seen_.store(true, std::memory_order_relaxed);
  identity = std::max<std::uint64_t>(identity, 1);  // 0: none
  if (!client_sent_nothing) {
    for (std::atomic<std::uint64_t>& slot : reset_identities_) {
      std::uint64_t known = 0;
      if (slot.compare_exchange_strong(known, identity, std::memory_order_relaxed)) return 0;
      if (known == identity) return resets_in_row_.load(std::memory_order_relaxed);
    }
  }
  return resets_in_row_.fetch_add(1, std::memory_order_relaxed) + 1;
}

void EndpointLife::forget_resets() noexcept {
  resets_seen_.store(false, std::memory_order_relaxed);
  resets_in_row_.store(0, std::memory_order_relaxed);
  for (std::atomic<std::uint64_t>& slot : reset_identities_)
    slot.store(0, std::memory_order_relaxed);
}

void EndpointLife::eject(const Ejection& rule, TimePoint now, double chance) noexcept {
  const std::int64_t before = ejected_until_.load(std::memory_order_relaxed);
  const bool forgotten =
      before == 0 || nanoseconds(now) - before > kEjectionsForgottenAfter.count();
  const unsigned times = forgotten ? 1 : ejections_in_row_.load(std::memory_order_relaxed) + 1;
  ejections_in_row_.store(times, std::memory_order_relaxed);
  ejections_.fetch_add(1, std::memory_order_relaxed);
  const std::chrono::nanoseconds time =
      std::min<std::chrono::nanoseconds>(rule.time * std::int64_t{times}, rule.max_time);
  const auto longer = std::chrono::duration_cast<std::chrono::nanoseconds>(time * (chance / 10));
  const std::int64_t until = nanoseconds(now) + time.count() + longer.count();
  began_.store(until, std::memory_order_relaxed);
  ejected_until_.store(until, std::memory_order_relaxed);
  failures_in_row_.store(0, std::memory_order_relaxed);
  forget_resets();
}

double EndpointLife::ramp(std::chrono::nanoseconds slow_start, TimePoint now) const noexcept {
  const std::int64_t began = began_.load(std::memory_order_relaxed);
  if (began == 0 || slow_start.count() == 0) return 1;
  const auto lasted = static_cast<double>(nanoseconds(now) - began);
  return std::clamp(lasted / static_cast<double>(slow_start.count()), kFirstPart, 1.0);
}

void EndpointLife::set_leaving(bool leaving, TimePoint now) noexcept {
  const bool known = leaving_since_.load(std::memory_order_relaxed) != 0;
  if (leaving == known) return;
  leaving_since_.store(leaving ? std::max<std::int64_t>(nanoseconds(now), 1) : 0,
                       std::memory_order_relaxed);
}

EndpointLife::TimePoint EndpointLife::leaving_since() const noexcept {
  const std::int64_t since = leaving_since_.load(std::memory_order_relaxed);
  return since == 0 ? TimePoint::max() : TimePoint(TimePoint::duration(since));
}

}  // namespace sallyport::gateway
