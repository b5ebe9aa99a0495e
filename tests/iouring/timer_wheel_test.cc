#include "iouring/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

class RecordingTimer final : public Timer {
 public:
  explicit RecordingTimer(std::vector<RecordingTimer*>& fired) noexcept : fired_(&fired) {}
  TimePoint due;
  RecordingTimer* disarms = nullptr;
  TimerWheel* wheel = nullptr;
  std::chrono::milliseconds again{0};
  TimePoint now;

 private:
  void on_expiry() noexcept override {
    fired_->push_back(this);
    if (disarms != nullptr) wheel->disarm(*disarms);
    if (again.count() > 0) wheel->arm(*this, now + std::exchange(again, 0ms));
  }
  std::vector<RecordingTimer*>* fired_;
};

const TimePoint kStart = TimePoint(1'000'000s);

TEST(TimerWheel, FiresInTheTickThatFollowsTheTimeAndNotBefore) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  RecordingTimer timer(fired);
  wheel.arm(timer, kStart + 100ms);
  wheel.advance(kStart + 99ms);
  EXPECT_TRUE(fired.empty());
  wheel.advance(kStart + 100ms + TimerWheel::kTick);
  EXPECT_EQ(fired.size(), 1U);
  EXPECT_FALSE(timer.armed());
}

TEST(TimerWheel, FiresAnOverdueTimerAtTheNextTick) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  RecordingTimer timer(fired);
  wheel.advance(kStart + 1s);
  wheel.arm(timer, kStart);
  wheel.advance(kStart + 1s + TimerWheel::kTick);
  EXPECT_EQ(fired.size(), 1U);
}

TEST(TimerWheel, HasNoNextTimeWhenNoTimerIsArmed) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  RecordingTimer timer(fired);
  EXPECT_FALSE(wheel.next().has_value());
  wheel.arm(timer, kStart + 1h);
  EXPECT_TRUE(wheel.next().has_value());
  wheel.disarm(timer);
  EXPECT_FALSE(wheel.next().has_value());
}

TEST(TimerWheel, WakesFewTimesForATimerThatIsFar) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  RecordingTimer timer(fired);
  wheel.arm(timer, kStart + 24h);
  int wakes = 0;
  while (timer.armed()) {
    ++wakes;
    wheel.advance(*wheel.next());
  }
  EXPECT_LE(wakes, 5);
}

TEST(TimerWheel, FiresTimersBeyondItsReach) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  RecordingTimer timer(fired);
  wheel.arm(timer, kStart + 24h * 400);
  wheel.advance(kStart + 24h * 399);
  EXPECT_TRUE(fired.empty());
  wheel.advance(kStart + 24h * 400 + 1s);
  EXPECT_EQ(fired.size(), 1U);
}

TEST(TimerWheel, LetsATimerDisarmAnotherOfTheSameTick) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  RecordingTimer first(fired);
  RecordingTimer second(fired);
  first.wheel = &wheel;
  first.disarms = &second;
  wheel.arm(first, kStart + 50ms);
  wheel.arm(second, kStart + 50ms);
  wheel.advance(kStart + 1s);
  EXPECT_EQ(fired, std::vector<RecordingTimer*>{&first});
  EXPECT_EQ(wheel.armed(), 0U);
}

TEST(TimerWheel, LetsATimerArmItselfWhileItFires) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  RecordingTimer timer(fired);
  timer.wheel = &wheel;
  timer.now = kStart + 50ms;
  timer.again = 100ms;
  wheel.arm(timer, kStart + 50ms);
  wheel.advance(kStart + 100ms);
  EXPECT_EQ(fired.size(), 1U);
  EXPECT_TRUE(timer.armed());
  wheel.advance(kStart + 200ms);
  EXPECT_EQ(fired.size(), 2U);
}

TEST(TimerWheel, DisarmsATimerThatIsDestroyed) {
  TimerWheel wheel(kStart);
  std::vector<RecordingTimer*> fired;
  {
    RecordingTimer timer(fired);
    wheel.arm(timer, kStart + 50ms);
  }
  wheel.advance(kStart + 1s);
  EXPECT_TRUE(fired.empty());
}

// ---- The wheel against a slow reference

// The reference: a table of timers and their ticks, without slots or levels, searched whole.
class SlowTimers {
 public:
  void arm(std::size_t timer, TimePoint when) {
    const auto wait = when - kStart;
    const std::int64_t tick = wait.count() <= 0 ? 0 : (wait - 1ns) / TimerWheel::kTick + 1;
    due_[timer] = std::max(tick, now_ + 1);
  }
  void disarm(std::size_t timer) { due_.erase(timer); }
  [[nodiscard]] bool armed(std::size_t timer) const { return due_.contains(timer); }
  [[nodiscard]] std::size_t armed() const { return due_.size(); }
  [[nodiscard]] std::int64_t now() const { return now_; }
  [[nodiscard]] std::int64_t earliest() const {
    std::int64_t earliest = std::numeric_limits<std::int64_t>::max();
    for (const auto& [timer, tick] : due_) earliest = std::min(earliest, tick);
    return earliest;
  }
  /// False if `timer` is not among the earliest.
  [[nodiscard]] bool fire(std::size_t timer) {
    if (!armed(timer) || due_.at(timer) != earliest()) return false;
    now_ = due_.at(timer);
    due_.erase(timer);
    return true;
  }
  void reach(TimePoint now) { now_ = std::max(now_, (now - kStart) / TimerWheel::kTick); }

 private:
  std::map<std::size_t, std::int64_t> due_;  // in ticks
  std::int64_t now_ = 0;                     // the tick that was reached
};

// Uses a wheel and the reference in the same way, at random. Timers that fire arm and disarm
// others; the order of timers within a tick is the wheel's.
class RandomUse {
 public:
  explicit RandomUse(std::uint64_t seed) : random_(seed) {
    for (std::size_t i = 0; i < kTimers; ++i) timers_.emplace_back(*this, i);
  }

  void step() {
    arm_or_disarm(up_to(4));
    compare();
    const TimePoint target = next_target();
    wheel_.advance(target);
    now_ = std::max(now_, target);
    reference_.reach(now_);
    EXPECT_GT(reference_.earliest(), reference_.now()) << "due and not fired";
    compare();
  }

 private:
  static constexpr std::size_t kTimers = 60;

  class Each final : public Timer {
   public:
    Each(RandomUse& use, std::size_t index) noexcept : use_(&use), index_(index) {}

   private:
    void on_expiry() noexcept override { use_->fired(index_); }
    RandomUse* use_;
    std::size_t index_;
  };

  std::uint64_t up_to(std::uint64_t most) { return random_() % (most + 1); }
  /// Of every magnitude up to 2^`bits` ns.
  std::chrono::nanoseconds some_time(std::uint64_t bits) {
    return std::chrono::nanoseconds(random_() % (std::uint64_t{1} << up_to(bits)));
  }

  void arm_or_disarm(std::uint64_t times) {
    for (; times > 0; --times) {
      const std::size_t timer = up_to(kTimers - 1);
      if (up_to(3) == 0) {
        wheel_.disarm(timers_[timer]);
        reference_.disarm(timer);
      } else {
        // 2^54 ns are 208 days, twice what the wheel reaches. Some times have passed already.
        const TimePoint when = now_ + some_time(54) - (up_to(9) == 0 ? some_time(30) : 0ns);
        wheel_.arm(timers_[timer], when);
        reference_.arm(timer, when);
      }
    }
  }

  void fired(std::size_t timer) noexcept {
    EXPECT_TRUE(reference_.fire(timer)) << "timer " << timer << " fired out of order";
    EXPECT_FALSE(timers_[timer].armed());
    arm_or_disarm(up_to(2));
  }

  TimePoint next_target() {
    const std::optional<TimePoint> next = wheel_.next();
    switch (up_to(7)) {
      case 0:
        return now_ + some_time(54);
      case 1:
        return next.value_or(now_);
      case 2:
        return next.value_or(now_) - 1ns;
      default:
        return now_ + some_time(30);
    }
  }

  void compare() {
    EXPECT_EQ(wheel_.armed(), reference_.armed());
    for (std::size_t i = 0; i < kTimers; ++i)
      EXPECT_EQ(timers_[i].armed(), reference_.armed(i)) << "timer " << i;
    const std::optional<TimePoint> next = wheel_.next();
    EXPECT_EQ(next.has_value(), reference_.armed() > 0);
    if (!next) return;
    const std::int64_t tick = (*next - kStart) / TimerWheel::kTick;
    EXPECT_EQ(kStart + tick * TimerWheel::kTick, *next);
    EXPECT_GT(tick, reference_.now()) << "advance() to next() would do nothing";
    EXPECT_LE(tick, reference_.earliest()) << "a sleep until next() would be too long";
  }

  std::mt19937_64 random_;
  TimerWheel wheel_{kStart};
  SlowTimers reference_;
  TimePoint now_ = kStart;
  std::deque<Each> timers_;
};

class TimerWheelProperty : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(TimerWheelProperty, FiresTheSameTimersInTheSameTicksAsTheReference) {
  RandomUse use(GetParam());
  for (int step = 0; step < 1500 && !HasFailure(); ++step) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", step " + std::to_string(step));
    use.step();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TimerWheelProperty, ::testing::Range<std::uint64_t>(1, 21),
                         [](const auto& seed) { return "Seed" + std::to_string(seed.param); });

}  // namespace
}  // namespace sallyport::iouring
