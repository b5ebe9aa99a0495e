#include "gateway/backends/lookup_times.h"

#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr LookupTimes kTimes;

TEST(LookupTimes, AnAnswerIsGoodForItsTtl) {
  EXPECT_EQ(kTimes.after_answer(1s, 0), 1s);
  EXPECT_EQ(kTimes.after_answer(60s, 0), 60s);
  EXPECT_EQ(kTimes.after_answer(300s, 0), 5min);
}

TEST(LookupTimes, ButForNoMoreThanFiveMinutes) {
  EXPECT_EQ(kTimes.after_answer(301s, 0), 5min);
  EXPECT_EQ(kTimes.after_answer(std::chrono::seconds(0x7fffffff), 0), 5min);
}

TEST(LookupTimes, AnAnswerWithoutATtlIsGoodForTenSeconds) {
  EXPECT_EQ(kTimes.after_answer(0s, 0), 10s);
  EXPECT_EQ(kTimes.after_answer(-1s, 0), 10s);
}

TEST(LookupTimes, ChanceAddsUpToATenth) {
  EXPECT_EQ(kTimes.after_answer(60s, 0.5), 63s);
  EXPECT_EQ(kTimes.after_answer(60s, 1), 66s);
  EXPECT_EQ(kTimes.after_answer(0s, 1), 11s);
  EXPECT_EQ(kTimes.after_failure(1, 1), 1'100ms);
}

TEST(LookupTimes, EachFailureIsFollowedByTwiceThePauseUpToHalfAMinute) {
  const auto pauses = {1s, 2s, 4s, 8s, 16s, 30s, 30s};
  unsigned failures = 0;
  for (const auto pause : pauses) EXPECT_EQ(kTimes.after_failure(++failures, 0), pause);
  EXPECT_EQ(kTimes.after_failure(4'000'000'000U, 0), 30s);
}

TEST(LookupTimes, AShortestTimeHoldsForShorterTtls) {
  constexpr LookupTimes kSlow{.shortest = 5s};
  EXPECT_EQ(kSlow.after_answer(1s, 0), 5s);
}

}  // namespace
}  // namespace sallyport::gateway
