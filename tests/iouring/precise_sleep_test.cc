#include "iouring/precise_sleep.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>

#include "iouring/both.h"
#include "iouring/deadline.h"
#include "tests/iouring/cancel_soon.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

Task<void> sleep_and_measure(Ring& ring, steady_clock::duration& slept_for) {
  const auto begun = steady_clock::now();
  const Result<> slept = co_await sleep_precisely(ring, 3ms);
  slept_for = steady_clock::now() - begun;
  EXPECT_TRUE(slept);
}

TEST(PreciseSleep, SleepsNoLessThanItsTime) {
  auto ring = make_ring();
  steady_clock::duration slept_for{};
  ring->run(sleep_and_measure(*ring, slept_for));
  EXPECT_GE(slept_for, 3ms);
}

Task<void> sleep_often(Ring& ring, int times, int& slept) {
  for (; slept < times; ++slept) {
    const Result<> done = co_await sleep_precisely(ring, 20us);
    if (!done) co_return;
  }
}

Task<void> sleep_often_within_two_seconds(Ring& ring, int times, int& slept) {
  CancelScope scope;
  Deadline deadline(ring, scope);
  deadline.arm(2s);
  co_await in_scope(scope, sleep_often(ring, times, slept));
}

// They take some 40 ms; as ticks of the wheel it would be 4 s.
TEST(PreciseSleep, IsShorterThanATick) {
  auto ring = make_ring();
  int slept = 0;
  ring->run(sleep_often_within_two_seconds(*ring, 500, slept));
  EXPECT_EQ(slept, 500);
}

Task<void> sleep_an_hour(Ring& ring, Result<>& slept) {
  slept = co_await sleep_precisely(ring, 1h);
}

Task<void> sleep_under(CancelScope& scope, Ring& ring, Result<>& slept) {
  co_await in_scope(scope, sleep_an_hour(ring, slept));
}

Task<void> cancel_a_precise_sleep(Ring& ring, Result<>& slept) {
  CancelScope scope;
  co_await both(sleep_under(scope, ring, slept), cancel_later(ring, scope));
}

TEST(PreciseSleep, IsCancelledWithItsScope) {
  auto ring = make_ring();
  Result<> slept;
  ring->run(cancel_a_precise_sleep(*ring, slept));
  ASSERT_FALSE(slept);
  EXPECT_EQ(slept.error().value, ECANCELED);
}

Task<void> sleep_in_a_cancelled_scope(Ring& ring, Result<>& slept) {
  CancelScope scope;
  scope.cancel();
  co_await sleep_under(scope, ring, slept);
}

TEST(PreciseSleep, DoesNotBeginInACancelledScope) {
  auto ring = make_ring();
  Result<> slept;
  ring->run(sleep_in_a_cancelled_scope(*ring, slept));
  ASSERT_FALSE(slept);
  EXPECT_EQ(slept.error().value, ECANCELED);
}

}  // namespace
}  // namespace sallyport::iouring
