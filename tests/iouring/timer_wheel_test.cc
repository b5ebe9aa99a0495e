#include "iouring/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

class Noted final : public Timer {
 public:
  explicit Noted(std::vector<Noted*>& fired) noexcept : fired_(&fired) {}
  TimePoint due;
  Noted* disarms = nullptr;
  TimerWheel* wheel = nullptr;
  std::chrono::milliseconds again{0};
  TimePoint now;

 private:
  void on_expiry() noexcept override {
    fired_->push_back(this);
    if (disarms != nullptr) wheel->disarm(*disarms);
    if (again.count() > 0) wheel->arm(*this, now + std::exchange(again, 0ms));
  }
  std::vector<Noted*>* fired_;
};

const TimePoint kStart = TimePoint(1'000'000s);

TEST(TimerWheel, FiresInTheTickThatFollowsTheTimeAndNotBefore) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  Noted timer(fired);
  wheel.arm(timer, kStart + 100ms);
  wheel.advance(kStart + 99ms);
  EXPECT_TRUE(fired.empty());
  wheel.advance(kStart + 100ms + TimerWheel::kTick);
  EXPECT_EQ(fired.size(), 1U);
  EXPECT_FALSE(timer.armed());
}

TEST(TimerWheel, FiresWhatIsOverdueAtTheNextTick) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  Noted timer(fired);
  wheel.advance(kStart + 1s);
  wheel.arm(timer, kStart);
  wheel.advance(kStart + 1s + TimerWheel::kTick);
  EXPECT_EQ(fired.size(), 1U);
}

TEST(TimerWheel, KnowsNothingNextWhenNothingIsArmed) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  Noted timer(fired);
  EXPECT_FALSE(wheel.next().has_value());
  wheel.arm(timer, kStart + 1h);
  EXPECT_TRUE(wheel.next().has_value());
  wheel.disarm(timer);
  EXPECT_FALSE(wheel.next().has_value());
}

TEST(TimerWheel, WakesOnlyAFewTimesForATimerThatIsFar) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  Noted timer(fired);
  wheel.arm(timer, kStart + 24h);
  int wakes = 0;
  while (timer.armed()) {
    ++wakes;
    wheel.advance(*wheel.next());
  }
  EXPECT_LE(wakes, 5);
}

TEST(TimerWheel, CarriesTimersBeyondItsReach) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  Noted timer(fired);
  wheel.arm(timer, kStart + 24h * 400);
  wheel.advance(kStart + 24h * 399);
  EXPECT_TRUE(fired.empty());
  wheel.advance(kStart + 24h * 400 + 1s);
  EXPECT_EQ(fired.size(), 1U);
}

TEST(TimerWheel, LetsATimerDisarmAnotherOfTheSameTick) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  Noted first(fired);
  Noted second(fired);
  first.wheel = &wheel;
  first.disarms = &second;
  wheel.arm(first, kStart + 50ms);
  wheel.arm(second, kStart + 50ms);
  wheel.advance(kStart + 1s);
  EXPECT_EQ(fired, std::vector<Noted*>{&first});
  EXPECT_EQ(wheel.armed(), 0U);
}

TEST(TimerWheel, LetsATimerArmItselfWhileItFires) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  Noted timer(fired);
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

TEST(TimerWheel, ForgetsATimerThatIsDestroyed) {
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  {
    Noted timer(fired);
    wheel.arm(timer, kStart + 50ms);
  }
  wheel.advance(kStart + 1s);
  EXPECT_TRUE(fired.empty());
}

// Against the obvious: each timer fires in the first advance() at or after its time, within one
// tick, and next() never lies beyond the earliest.
TEST(TimerWheel, AgreesWithASortedListUnderRandomUse) {
  std::mt19937_64 random(11);
  TimerWheel wheel(kStart);
  std::vector<Noted*> fired;
  std::deque<Noted> timers;
  for (int i = 0; i < 400; ++i) timers.emplace_back(fired);
  TimePoint now = kStart;
  const auto tick_of = [](TimePoint time) { return (time - kStart) / TimerWheel::kTick; };
  for (int round = 0; round < 4000; ++round) {
    Noted& timer = timers[random() % timers.size()];
    if (random() % 8 == 0) {
      wheel.disarm(timer);
    } else {
      const int magnitude = static_cast<int>(random() % 34);
      timer.due = now + std::chrono::microseconds(random() % (std::uint64_t{2} << magnitude));
      wheel.arm(timer, timer.due);
    }
    const auto next = wheel.next();
    for (const Noted& each : timers)
      if (each.armed())
        ASSERT_LE(*next, std::max(each.due + 2 * TimerWheel::kTick, now + 2 * TimerWheel::kTick));
    now += std::chrono::microseconds(random() % (random() % 16 == 0 ? 100'000'000 : 20'000));
    fired.clear();
    wheel.advance(now);
    for (const Noted* each : fired) ASSERT_LE(each->due, now);
    for (const Noted& each : timers)
      if (each.armed()) ASSERT_GE(tick_of(each.due) + 1, tick_of(now));
  }
  for (Noted& timer : timers) wheel.disarm(timer);
  EXPECT_EQ(wheel.armed(), 0U);
}

}  // namespace
}  // namespace sallyport::iouring
