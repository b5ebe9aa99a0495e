#include "iouring/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace sallyport::iouring {

namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
constexpr int kTickShift = 23;
static_assert(TimerWheel::kTick.count() == std::int64_t{1} << kTickShift);

}  // namespace

Timer::~Timer() {
  if (armed()) wheel_->disarm(*this);
}

TimerWheel::TimerWheel(TimePoint now) noexcept : epoch_(now) {}

TimerWheel::~TimerWheel() {
  invariant(armed_ == 0, "a timer wheel outlives its timers", static_cast<long long>(armed_));
}

std::uint64_t TimerWheel::tick_of(TimePoint when) const noexcept {
  const std::int64_t wait = std::chrono::nanoseconds(when - epoch_).count();
  // Rounded up: never early.
  return wait <= 0 ? 0 : ((static_cast<std::uint64_t>(wait) - 1) >> kTickShift) + 1;
}

void TimerWheel::arm(Timer& timer, TimePoint when) noexcept {
  if (timer.armed()) disarm(timer);
  timer.tick_ = tick_of(when);
  timer.wheel_ = this;
  ++armed_;
  insert(timer, tick_ + 1);
}

void TimerWheel::disarm(Timer& timer) noexcept {
  if (!timer.armed()) return;
  timer.unlink();
  --armed_;
  const std::uint16_t slot = timer.slot_;
  if (slots_[slot].empty())
    occupied_[slot >> kSlotBits] &= ~(std::uint64_t{1} << (slot & (kSlots - 1)));
}

void TimerWheel::insert(Timer& timer, std::uint64_t earliest) noexcept {
  constexpr std::uint64_t kReach = (std::uint64_t{1} << (kSlotBits * kLevels)) - 1;
  // A timer beyond the reach waits in the last slot and is inserted again from there.
  const std::uint64_t tick = std::clamp(timer.tick_, earliest, tick_ + kReach);
  const std::uint64_t ahead = tick - tick_;
  int level = 0;
  while (ahead >> (kSlotBits * (level + 1)) != 0) ++level;
  const std::uint64_t slot = (tick >> (kSlotBits * level)) & (kSlots - 1);
  timer.slot_ = static_cast<std::uint16_t>(static_cast<std::uint64_t>(level) * kSlots + slot);
  slots_[timer.slot_].push_back(timer);
  occupied_[level] |= std::uint64_t{1} << slot;
}

// The next tick at which a slot fires or moves down one level.
std::uint64_t TimerWheel::next_tick() const noexcept {
  std::uint64_t next = kNever;
  for (int level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    // The slot of the current position has been emptied; what is in it is a whole round ahead.
    const std::uint64_t following = (tick_ >> (kSlotBits * level)) + 1;
    const auto turned = std::rotr(occupied_[level], static_cast<int>(following & (kSlots - 1)));
    next = std::min(next, (following + static_cast<std::uint64_t>(std::countr_zero(turned)))
                              << (kSlotBits * level));
  }
  return next;
}

void TimerWheel::advance(TimePoint now) noexcept {
  const std::int64_t passed = std::chrono::nanoseconds(now - epoch_).count();
  const std::uint64_t until = passed <= 0 ? 0 : static_cast<std::uint64_t>(passed) >> kTickShift;
  while (tick_ < until) {
    const std::uint64_t next = next_tick();
    if (next > until) {
      tick_ = until;
      return;
    }
    tick_ = next;
    for (int level = kLevels - 1; level > 0; --level) {
      if ((tick_ & ((std::uint64_t{1} << (kSlotBits * level)) - 1)) != 0) continue;
      const std::uint64_t slot = (tick_ >> (kSlotBits * level)) & (kSlots - 1);
      if ((occupied_[level] & (std::uint64_t{1} << slot)) == 0) continue;
      occupied_[level] &= ~(std::uint64_t{1} << slot);
      List<Timer> down;
      down.splice_back(slots_[static_cast<std::uint64_t>(level) * kSlots + slot]);
      while (!down.empty()) insert(down.pop_front(), tick_);
    }
    fire_slot(tick_ & (kSlots - 1));
  }
}

void TimerWheel::fire_slot(std::uint64_t slot) noexcept {
  if ((occupied_[0] & (std::uint64_t{1} << slot)) == 0) return;
  occupied_[0] &= ~(std::uint64_t{1} << slot);
  List<Timer> due;
  due.splice_back(slots_[slot]);
  // A timer that fires may arm and disarm others: none that is armed now gets into this slot.
  while (!due.empty()) {
    --armed_;
    due.pop_front().on_expiry();
  }
}

std::optional<TimePoint> TimerWheel::next() const noexcept {
  const std::uint64_t tick = next_tick();
  if (tick == kNever) return std::nullopt;
  return epoch_ + std::chrono::nanoseconds(static_cast<std::int64_t>(tick << kTickShift));
}

}  // namespace sallyport::iouring
