#pragma once
// Coarse timers: thousands of them are armed and disarmed per loop iteration, few ever fire.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "iouring/list.h"

namespace sallyport::iouring {

using TimePoint = std::chrono::steady_clock::time_point;

/// Intrusive; belongs to one wheel at a time. Unlinks itself when destroyed.
class Timer : private ListNode {
 public:
  [[nodiscard]] bool armed() const noexcept { return linked(); }

 protected:
  Timer() noexcept = default;
  ~Timer();
  /// The timer fires: it is disarmed and may be armed again. Must not resume a coroutine.
  virtual void on_expiry() noexcept = 0;
  /// The tick that it was last armed for.
  [[nodiscard]] std::uint64_t tick() const noexcept { return tick_; }

 private:
  friend class TimerWheel;
  template <class T>
  friend class List;
  class TimerWheel* wheel_ = nullptr;
  std::uint64_t tick_ = 0;
  std::uint16_t slot_ = 0;  // of the wheel, when it was armed last
};

/// Hierarchical wheel: five levels of 64 slots, one tick 2^23 ns (8.4 ms), so that 100 days fit
/// (longer times go round again). arm and disarm are O(1). A timer never fires early and fires in
/// the first loop iteration after its tick, at most 8.4 ms late on an idle ring.
class TimerWheel {
 public:
  static constexpr std::chrono::nanoseconds kTick{1 << 23};

  explicit TimerWheel(TimePoint now) noexcept;
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  ~TimerWheel();

  /// Arms, or moves an armed timer. One whose time has passed fires in the next tick.
  void arm(Timer& timer, TimePoint when) noexcept;
  void disarm(Timer& timer) noexcept;

  /// The tick at which a timer armed for `when` fires.
  [[nodiscard]] std::uint64_t tick_of(TimePoint when) const noexcept;
  /// Fires everything due at `now`, in order of its ticks.
  void advance(TimePoint now) noexcept;
  /// When advance() has something to do next: the earliest timer fires, or before that timers move
  /// down one level. Nothing when no timer is armed.
  [[nodiscard]] std::optional<TimePoint> next() const noexcept;
  [[nodiscard]] std::size_t armed() const noexcept { return armed_; }

 private:
  static constexpr int kLevels = 5;
  static constexpr int kSlotBits = 6;
  static constexpr std::uint64_t kSlots = 1 << kSlotBits;

  void insert(Timer& timer, std::uint64_t earliest) noexcept;
  void fire_slot(std::uint64_t slot) noexcept;
  [[nodiscard]] std::uint64_t next_tick() const noexcept;

  TimePoint epoch_;
  std::uint64_t tick_ = 0;  // all timers of this tick and earlier ones have fired
  std::size_t armed_ = 0;
  std::array<std::uint64_t, kLevels> occupied_{};
  std::array<List<Timer>, kLevels * kSlots> slots_;
};

}  // namespace sallyport::iouring
