#include "iouring/wake_coalescing.h"

#include <gtest/gtest.h>

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kManyPending = 10'000;

// `waits` waits, each of which gets what it wants; a completion every `each`.
void get_all(WakeCoalescing& coalescing, int waits, std::chrono::nanoseconds each,
             std::size_t pending = kManyPending) {
  for (int i = 0; i < waits; ++i) {
    const unsigned wanted = coalescing.wanted(pending);
    coalescing.ended(wanted, wanted, each * wanted);
  }
}

TEST(WakeCoalescing, WaitsForOneUntilCompletionsComeQuickly) {
  WakeCoalescing coalescing(50us);
  EXPECT_EQ(coalescing.wanted(kManyPending), 1U);
  get_all(coalescing, 1'000, 12500ns);
  EXPECT_EQ(coalescing.wanted(kManyPending), 1U) << "four in that time are too few";
  get_all(coalescing, 1'000, 5us);
  EXPECT_EQ(coalescing.wanted(kManyPending), 32U);
}

TEST(WakeCoalescing, WaitsForAShareOfWhatIsPending) {
  WakeCoalescing coalescing(50us);
  get_all(coalescing, 1'000, 5us);
  EXPECT_EQ(coalescing.wanted(0), 1U);
  EXPECT_EQ(coalescing.wanted(11), 1U);
  EXPECT_EQ(coalescing.wanted(12), 2U);
  EXPECT_EQ(coalescing.wanted(128), 21U);
}

TEST(WakeCoalescing, WantsLessWhereNotAllCame) {
  WakeCoalescing coalescing(50us);
  get_all(coalescing, 1'000, 1us);
  coalescing.ended(32, 20, 50us);
  EXPECT_EQ(coalescing.wanted(kManyPending), 10U);
  coalescing.ended(10, 0, 1us);
  EXPECT_EQ(coalescing.wanted(kManyPending), 1U);
}

TEST(WakeCoalescing, WantsOneMoreAfterEightThatWereFull) {
  WakeCoalescing coalescing(50us);
  get_all(coalescing, 1'000, 1us);
  coalescing.ended(32, 4, 4us);
  ASSERT_EQ(coalescing.wanted(kManyPending), 2U);
  get_all(coalescing, 7, 1us);
  EXPECT_EQ(coalescing.wanted(kManyPending), 2U);
  get_all(coalescing, 1, 1us);
  EXPECT_EQ(coalescing.wanted(kManyPending), 3U);
}

TEST(WakeCoalescing, EndsWithTheFirstPauseAndIsBackSoonAfter) {
  WakeCoalescing coalescing(50us);
  get_all(coalescing, 1'000, 5us);
  coalescing.ended(1, 1, 1h);
  EXPECT_EQ(coalescing.wanted(kManyPending), 1U);
  get_all(coalescing, 20, 5us);
  EXPECT_GT(coalescing.wanted(kManyPending), 1U);
}

TEST(WakeCoalescing, IsOffAtZero) {
  WakeCoalescing coalescing;
  get_all(coalescing, 1'000, 1ns);
  EXPECT_EQ(coalescing.wanted(kManyPending), 1U);
}

}  // namespace
}  // namespace sallyport::iouring
