#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gateway/policy/endpoint_rules.h"
#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

/// What one check of an endpoint found out.
enum class CheckResult : std::uint8_t {
  kSuccess,
  kFailure,
  kUnknown,  ///< nothing of the endpoint: the checker is at fault
};
inline constexpr std::array<std::string_view, 3> kCheckResultWords{"success", "failure", "unknown"};

/// What checks say of an endpoint.
enum class Checked : std::uint8_t {
  kUnknown,  ///< not yet checked, or its route checks nothing
  kUp,
  kDown,
};
std::string_view to_string(Checked checked);

/// What is known of an endpoint beyond what the discovery file says: one object for as long as the
/// endpoint stays, through all generations. Of times, those of the ring's clock. Any thread; no
/// lock.
class EndpointLife {
 public:
  using TimePoint = iouring::TimePoint;

  // ---- checks: written by the checker alone

  [[nodiscard]] Checked checked() const noexcept {
    return checked_.load(std::memory_order_acquire);
  }
  /// What is to be shown: unknown, too, where the checks by `rule` have told nothing for some
  /// intervals. What they told last still counts for traffic.
  [[nodiscard]] Checked shown(const HealthCheck& rule, TimePoint now) const noexcept;
  /// `tells`: something of the endpoint, and not only of the network.
  void count_check(CheckResult result, bool tells, TimePoint now) noexcept;
  [[nodiscard]] std::uint64_t checks(CheckResult result) const noexcept {
    return checks_[static_cast<std::size_t>(result)].load(std::memory_order_relaxed);
  }
  void set_checked(Checked checked, TimePoint now) noexcept;
  /// Whether it is down by its checks, and was not yet at `time`.
  [[nodiscard]] bool went_down_after(TimePoint time) const noexcept {
    return checked() == Checked::kDown &&
           nanoseconds(time) < down_since_.load(std::memory_order_relaxed);
  }

  // ---- ejection: by failures of connections, see eject_if_due()

  [[nodiscard]] bool ejected(TimePoint now) const noexcept {
    const std::int64_t until = ejected_until_.load(std::memory_order_relaxed);
    return until != 0 && nanoseconds(now) < until;
  }
  /// A connect failed, or a connection for no fault of its client. Returns how many in a row.
  unsigned count_failure() noexcept {
    return failures_in_row_.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  void connected() noexcept {
    if (failures_in_row() != 0) failures_in_row_.store(0, std::memory_order_relaxed);
  }
  [[nodiscard]] unsigned failures_in_row() const noexcept {
    return failures_in_row_.load(std::memory_order_relaxed);
  }
  /// It reset a connection before its first byte, which the client may have caused by what it sent:
  /// of three clients that see this in a row, by `identity` (a hash), none did. Returns how many
  /// such resets count, in a row.
  unsigned count_reset(bool client_sent_nothing, std::uint64_t identity) noexcept;
  /// It has sent a first byte.
  void answered() noexcept {
    if (resets_seen_.load(std::memory_order_relaxed)) forget_resets();
  }
  /// For a time that grows from one ejection to the next. `chance` (0 to 1) makes it up to a tenth
  /// longer, so that not all come back at once.
  void eject(const Ejection& rule, TimePoint now, double chance) noexcept;
  [[nodiscard]] std::uint64_t ejections() const noexcept {
    return ejections_.load(std::memory_order_relaxed);
  }

  // ---- its connections, of all shards, those that are dialled included

  /// Counts one more, until leave(). False: it has `most` (0: no limit).
  [[nodiscard]] bool enter(std::uint32_t most) noexcept {
    const bool room = connections_.fetch_add(1, std::memory_order_relaxed) < most || most == 0;
    if (!room) leave();
    return room;
  }
  void leave() noexcept { connections_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t connections() const noexcept {
    return connections_.load(std::memory_order_relaxed);
  }
  void count_connect_failure() noexcept {
    connect_failures_.fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t connect_failures() const noexcept {
    return connect_failures_.load(std::memory_order_relaxed);
  }

  // ---- coming and going

  /// It takes its part of the connections since `now`: slow start counts from here.
  void begin(TimePoint now) noexcept { began_.store(nanoseconds(now), std::memory_order_relaxed); }
  /// What part of its weight it has, more than 0 and at most 1.
  [[nodiscard]] double ramp(std::chrono::nanoseconds slow_start, TimePoint now) const noexcept;
  /// Whether it drains or is gone, and since when: EndpointSet::mark_leaving(), GoneEndpoints.
  void set_leaving(bool leaving, TimePoint now) noexcept;
  /// TimePoint::max(): it stays.
  [[nodiscard]] TimePoint leaving_since() const noexcept;
  /// Its counts are settled: what comes back to its place has another life, even while this one is
  /// held.
  void forget() noexcept { forgotten_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool forgotten() const noexcept {
    return forgotten_.load(std::memory_order_relaxed);
  }

 private:
  static std::int64_t nanoseconds(TimePoint time) noexcept {
    return time.time_since_epoch().count();
  }
  void forget_resets() noexcept;

  std::atomic<Checked> checked_{Checked::kUnknown};
  std::atomic<std::int64_t> checked_at_{0};
  std::atomic<std::int64_t> down_since_{0};
  std::array<std::atomic<std::uint64_t>, kCheckResultWords.size()> checks_{};
  std::atomic<unsigned> failures_in_row_{0};
  std::atomic<unsigned> resets_in_row_{0};
  std::atomic<bool> resets_seen_{false};
  std::array<std::atomic<std::uint64_t>, 2> reset_identities_{};
  std::atomic<std::int64_t> ejected_until_{0};  // 0: never ejected
  std::atomic<unsigned> ejections_in_row_{0};
  std::atomic<std::uint64_t> ejections_{0};
  std::atomic<std::uint64_t> connections_{0};
  std::atomic<std::uint64_t> connect_failures_{0};
  std::atomic<std::int64_t> began_{0};          // 0: with the process
  std::atomic<std::int64_t> leaving_since_{0};  // 0: it stays
  std::atomic<bool> forgotten_{false};
};

}  // namespace sallyport::gateway
