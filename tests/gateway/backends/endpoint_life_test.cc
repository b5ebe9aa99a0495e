#include "gateway/backends/endpoint_life.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr iouring::TimePoint kStart{1h};
constexpr Ejection kGrowing{.failures = 3, .time = 10s, .max_time = 60s};

TEST(EndpointLife, IsNeitherCheckedNorEjectedNorLeavingAtFirst) {
  const EndpointLife life;
  EXPECT_EQ(life.checked(), Checked::kUnknown);
  EXPECT_FALSE(life.ejected(kStart));
  EXPECT_EQ(life.leaving_since(), iouring::TimePoint::max());
  EXPECT_EQ(life.ramp(10s, kStart), 1) << "it has always been there";
}

TEST(EndpointLife, FailuresInARowAreForgottenByAConnect) {
  EndpointLife life;
  EXPECT_EQ(life.count_failure(), 1U);
  EXPECT_EQ(life.count_failure(), 2U);
  life.connected();
  EXPECT_EQ(life.count_failure(), 1U);
}

TEST(EndpointLife, AResetOfAClientThatSentNothingCountsAtOnce) {
  EndpointLife life;
  EXPECT_EQ(life.count_reset(true, 1), 1U);
  EXPECT_EQ(life.count_reset(true, 1), 2U);
  life.answered();
  EXPECT_EQ(life.count_reset(true, 1), 1U);
}

// One client that sends what a backend answers by a reset must not take it from the others.
TEST(EndpointLife, OneClientOrTwoCannotMakeResetsCountByWhatTheySend) {
  EndpointLife life;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(life.count_reset(false, 7), 0U);
    EXPECT_EQ(life.count_reset(false, 8), 0U);
  }
  EXPECT_EQ(life.count_reset(false, 9), 1U) << "a third one saw it";
  EXPECT_EQ(life.count_reset(false, 10), 2U);
  EXPECT_EQ(life.count_reset(false, 7), 2U) << "known already: it adds nothing";
  life.answered();
  EXPECT_EQ(life.count_reset(false, 9), 0U);
}

TEST(EndpointLife, EjectionsGrowUpToTheLongestAndEndByThemselves) {
  EndpointLife life;
  iouring::TimePoint now = kStart;
  for (const auto time : {10s, 20s, 30s, 40s, 50s, 60s, 60s}) {
    life.eject(kGrowing, now, 0);
    EXPECT_TRUE(life.ejected(now + time - 1ns)) << time.count();
    EXPECT_FALSE(life.ejected(now + time)) << time.count();
    now += time;
  }
  EXPECT_EQ(life.ejections(), 7U);
  now += 11min;
  life.eject(kGrowing, now, 0);
  EXPECT_FALSE(life.ejected(now + 10s)) << "the first again after a long good time";
}

TEST(EndpointLife, AnEjectionIsLongerByChanceByATenth) {
  EndpointLife life;
  life.eject(kGrowing, kStart, 1);
  EXPECT_TRUE(life.ejected(kStart + 11s - 1ns));
  EXPECT_FALSE(life.ejected(kStart + 11s));
}

TEST(EndpointLife, AnEjectionForgetsWhatLedToIt) {
  EndpointLife life;
  life.count_failure();
  life.count_reset(true, 1);
  life.eject(kGrowing, kStart, 0);
  EXPECT_EQ(life.count_failure(), 1U);
  EXPECT_EQ(life.count_reset(true, 1), 1U);
}

TEST(EndpointLife, GrowsFromWhereItBegan) {
  EndpointLife life;
  life.begin(kStart);
  EXPECT_DOUBLE_EQ(life.ramp(10s, kStart), 0.1);
  EXPECT_DOUBLE_EQ(life.ramp(10s, kStart + 5s), 0.5);
  EXPECT_DOUBLE_EQ(life.ramp(10s, kStart + 20s), 1);
  EXPECT_DOUBLE_EQ(life.ramp(0s, kStart), 1) << "off";
  life.set_checked(Checked::kDown, kStart + 1min);
  life.set_checked(Checked::kUp, kStart + 2min);
  EXPECT_DOUBLE_EQ(life.ramp(10s, kStart + 2min + 5s), 0.5) << "it came back";
  life.eject(kGrowing, kStart + 3min, 0);
  EXPECT_DOUBLE_EQ(life.ramp(10s, kStart + 3min + 10s + 5s), 0.5) << "from the ejection's end";
}

TEST(EndpointLife, KnowsWhatBeganBeforeItWentDown) {
  EndpointLife life;
  life.set_checked(Checked::kUp, kStart);
  EXPECT_FALSE(life.went_down_after(kStart));
  life.set_checked(Checked::kDown, kStart + 5s);
  EXPECT_TRUE(life.went_down_after(kStart + 4s));
  EXPECT_FALSE(life.went_down_after(kStart + 5s)) << "it was let in although";
  life.set_checked(Checked::kUp, kStart + 6s);
  EXPECT_FALSE(life.went_down_after(kStart));
}

TEST(EndpointLife, KnowsSinceWhenItLeaves) {
  EndpointLife life;
  life.set_leaving(true, kStart);
  life.set_leaving(true, kStart + 1s);
  EXPECT_EQ(life.leaving_since(), kStart);
  life.set_leaving(false, kStart + 2s);
  EXPECT_EQ(life.leaving_since(), iouring::TimePoint::max());
}

TEST(EndpointLife, ShowsUnknownWhereTheCheckerStandsStill) {
  EndpointLife life;
  const HealthCheck rule{.interval = 5s, .timeout = 1s};
  life.count_check(CheckResult::kSuccess, true, kStart);
  life.set_checked(Checked::kUp, kStart);
  EXPECT_EQ(life.shown(rule, kStart + 18s), Checked::kUp);
  EXPECT_EQ(life.shown(rule, kStart + 19s), Checked::kUnknown);
  EXPECT_EQ(life.checked(), Checked::kUp) << "what counts for traffic";
  life.count_check(CheckResult::kUnknown, false, kStart + 19s);
  EXPECT_EQ(life.shown(rule, kStart + 19s), Checked::kUnknown) << "told nothing of it";
  life.count_check(CheckResult::kFailure, true, kStart + 20s);
  EXPECT_EQ(life.shown(rule, kStart + 20s), Checked::kUp);
  EXPECT_EQ(life.checks(CheckResult::kSuccess), 1U);
  EXPECT_EQ(life.checks(CheckResult::kFailure), 1U);
  EXPECT_EQ(life.checks(CheckResult::kUnknown), 1U);
}

}  // namespace
}  // namespace sallyport::gateway
