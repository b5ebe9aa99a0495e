#include "gateway/backends/check_history.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

const HealthCheck kChecks{.rise = 2, .fall = 3};

// '+' success, '-' a refusal, '.' silence, '!' unknown: a second apart, beside a network in which
// others are heard all the time.
class History {
 public:
  Checked after(const std::string& outcomes) {
    for (const char outcome : outcomes) {
      now_ += 1s;
      const CheckOutcome its = outcome_of(outcome);
      history_.note(kChecks, its, now_, in_network_, others_heard_ ? now_ : iouring::TimePoint{});
    }
    return history_.state();
  }
  History& nobody_else_heard() {
    others_heard_ = false;
    return *this;
  }
  History& on_this_host() {
    in_network_ = false;
    return *this;
  }
  bool withheld() const { return history_.withheld(); }

 private:
  static CheckOutcome outcome_of(char outcome) {
    switch (outcome) {
      case '+':
        return {.result = CheckResult::kSuccess, .why = {}, .heard = true};
      case '-':
        return {.result = CheckResult::kFailure, .why = "ECONNREFUSED", .heard = true};
      case '.':
        return {.result = CheckResult::kFailure, .why = "timeout", .heard = false};
      default:
        return {.result = CheckResult::kUnknown, .why = "ENOBUFS", .heard = false};
    }
  }

  CheckHistory history_;
  iouring::TimePoint now_{1h};
  bool in_network_ = true;
  bool others_heard_ = true;
};

TEST(CheckHistory, TheFirstSuccessTakesItIn) {
  EXPECT_EQ(History().after(""), Checked::kUnknown);
  EXPECT_EQ(History().after("+"), Checked::kUp);
  EXPECT_EQ(History().after("--+"), Checked::kUp);
}

TEST(CheckHistory, FailuresInARowTakeItOut) {
  EXPECT_EQ(History().after("--"), Checked::kUnknown);
  EXPECT_EQ(History().after("---"), Checked::kDown);
  EXPECT_EQ(History().after("+--+--"), Checked::kUp);
  EXPECT_EQ(History().after("+---"), Checked::kDown);
  EXPECT_EQ(History().after("+-.-"), Checked::kDown);
}

TEST(CheckHistory, SuccessesInARowTakeItBack) {
  EXPECT_EQ(History().after("---+"), Checked::kDown);
  EXPECT_EQ(History().after("---+-+"), Checked::kDown);
  EXPECT_EQ(History().after("---++"), Checked::kUp);
}

TEST(CheckHistory, WhatTheCheckerIsAtFaultForCountsForNothing) {
  EXPECT_EQ(History().after("+--!!!!!!!!"), Checked::kUp);
  EXPECT_EQ(History().after("+--!!-"), Checked::kDown);
  EXPECT_EQ(History().after("---!+!+"), Checked::kUp);
}

TEST(CheckHistory, ASilentOneGoesDownWhileOthersAreHeard) {
  EXPECT_EQ(History().after("+..."), Checked::kDown);
}

TEST(CheckHistory, WhereNobodyIsHeardSilenceTellsNothing) {
  History cut;
  EXPECT_EQ(cut.nobody_else_heard().after("+......"), Checked::kUp);
  EXPECT_TRUE(cut.withheld());
  EXPECT_EQ(cut.after("+"), Checked::kUp);
  EXPECT_FALSE(cut.withheld());
  EXPECT_EQ(History().nobody_else_heard().after("+..-"), Checked::kDown) << "it was heard itself";
}

TEST(CheckHistory, OnThisHostNoNetworkIsBetween) {
  EXPECT_EQ(History().on_this_host().nobody_else_heard().after("+..."), Checked::kDown);
}

}  // namespace
}  // namespace sallyport::gateway
