#include "iouring/deadline.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>

#include "iouring/both.h"
#include "tests/iouring/cancel_soon.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

Task<Result<>> sleep_an_hour(Ring& ring) {
  const Result<> slept = co_await sleep_for(ring, 1h);
  co_return slept;
}

Task<void> time_out(Ring& ring, SocketPair pair, int& error, bool& expired) {
  CancelScope scope(co_await current_scope());
  Deadline deadline(ring, scope);
  deadline.arm(20ms);
  error = co_await in_scope(scope, recv_error(pair.left));
  expired = deadline.expired();
}

TEST(Deadline, CancelsItsScopeAndReportsThatItExpired) {
  auto ring = make_ring();
  int error = 0;
  bool expired = false;
  ring->run(time_out(*ring, unix_pair(*ring), error, expired));
  EXPECT_EQ(error, ECANCELED);
  EXPECT_TRUE(expired);
}

Task<void> two_deadlines(Ring& ring, SocketPair pair, bool& near_expired, bool& far_expired) {
  CancelScope scope;
  Deadline near(ring, scope);
  Deadline far(ring, scope);
  near.arm(10ms);
  far.arm(1h);
  const int error = co_await in_scope(scope, recv_error(pair.left));
  EXPECT_EQ(error, ECANCELED);
  near_expired = near.expired();
  far_expired = far.expired();
}

TEST(Deadline, TellsWhichOfSeveralExpired) {
  auto ring = make_ring();
  bool near = false;
  bool far = true;
  ring->run(two_deadlines(*ring, unix_pair(*ring), near, far));
  EXPECT_TRUE(near);
  EXPECT_FALSE(far);
}

Task<void> rearm(Ring& ring, TimePoint& armed_for, TimePoint& woke) {
  CancelScope scope;
  Deadline deadline(ring, scope);
  deadline.arm(10ms);
  armed_for = ring.now() + 60ms;
  deadline.arm(60ms);  // later: the timer stays where it is in the wheel
  const Result<> slept = co_await in_scope(scope, sleep_an_hour(ring));
  EXPECT_FALSE(slept);
  woke = ring.now();
}

TEST(Deadline, MovesToALaterTimeWithoutFiringEarly) {
  auto ring = make_ring();
  TimePoint armed_for;
  TimePoint woke;
  ring->run(rearm(*ring, armed_for, woke));
  EXPECT_GE(woke, armed_for);
}

Task<void> rearm_earlier(Ring& ring) {
  CancelScope scope;
  Deadline deadline(ring, scope);
  deadline.arm(1h);
  deadline.arm(10ms);
  const Result<> slept = co_await in_scope(scope, sleep_an_hour(ring));
  EXPECT_FALSE(slept);
  EXPECT_TRUE(deadline.expired());
}

TEST(Deadline, MovesToAnEarlierTime) {
  auto ring = make_ring();
  ring->run(rearm_earlier(*ring));
}

Task<void> disarmed(Ring& ring) {
  CancelScope scope;
  Deadline deadline(ring, scope);
  deadline.arm(10ms);
  deadline.disarm();
  const Result<> slept = co_await sleep_for(ring, 40ms);
  EXPECT_TRUE(slept);
  EXPECT_FALSE(deadline.expired());
  EXPECT_FALSE(scope.cancelled());
}

TEST(Deadline, DoesNotExpireWhenDisarmed) {
  auto ring = make_ring();
  ring->run(disarmed(*ring));
  EXPECT_EQ(ring->timers().armed(), 0U);
}

Task<void> idle_with_far_timer(Ring& ring, std::uint64_t& iterations) {
  CancelScope scope;
  Deadline deadline(ring, scope);
  deadline.arm(1h);
  const std::uint64_t before = ring.iterations();
  const Result<> slept = co_await sleep_for(ring, 100ms);
  EXPECT_TRUE(slept);
  iterations = ring.iterations() - before;
}

TEST(Ring, SleepsWithoutTickingWhenTimersAreFar) {
  auto ring = make_ring();
  std::uint64_t iterations = 0;
  ring->run(idle_with_far_timer(*ring, iterations));
  // 100 ms are 12 ticks: a loop that woke for each would need as many iterations.
  EXPECT_LE(iterations, 3U);
}

Task<void> sleep_in_order(Ring& ring, TimePoint& asked, TimePoint& woke) {
  asked = ring.now() + 30ms;
  const Result<> slept = co_await sleep_for(ring, 30ms);
  EXPECT_TRUE(slept);
  woke = ring.now();
}

TEST(SleepFor, NeverWakesEarly) {
  auto ring = make_ring();
  TimePoint asked;
  TimePoint woke;
  ring->run(sleep_in_order(*ring, asked, woke));
  EXPECT_GE(woke, asked);
}

Task<void> scoped_sleep(Ring& ring, CancelScope& scope, Result<>& slept) {
  slept = co_await in_scope(scope, sleep_an_hour(ring));
}

Task<void> cancel_a_sleep(Ring& ring, Result<>& slept) {
  CancelScope scope;
  co_await both(scoped_sleep(ring, scope, slept), cancel_soon(ring, scope));
}

TEST(SleepFor, EndsWithItsScope) {
  auto ring = make_ring();
  Result<> slept;
  ring->run(cancel_a_sleep(*ring, slept));
  ASSERT_FALSE(slept);
  EXPECT_EQ(slept.error().value, ECANCELED);
  EXPECT_EQ(ring->timers().armed(), 0U);
}

}  // namespace
}  // namespace sallyport::iouring
