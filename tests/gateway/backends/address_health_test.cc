#include "gateway/backends/address_health.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

class AddressHealthTest : public testing::Test {
 protected:
  // How long it stays avoided.
  std::chrono::seconds avoided_for() const {
    auto time = 0s;
    while (health_.avoided(now_ + time)) time += 1s;
    return time;
  }

  AddressHealth::TimePoint now_{1h};
  AddressHealth health_;
};

TEST_F(AddressHealthTest, IsGoodBeforeAnythingIsKnown) {
  EXPECT_FALSE(health_.failing());
  EXPECT_FALSE(health_.avoided(now_));
  EXPECT_FALSE(health_.claim_trial(now_));
}

TEST_F(AddressHealthTest, AvoidsAnAddressAfterOneFailure) {
  health_.failed(now_, ECONNREFUSED);
  EXPECT_TRUE(health_.failing());
  EXPECT_EQ(health_.error(), ECONNREFUSED);
  EXPECT_EQ(avoided_for(), 1s);
  EXPECT_FALSE(health_.claim_trial(now_));
}

TEST_F(AddressHealthTest, LetsOneTryItAgainAndAvoidsItMeanwhile) {
  health_.failed(now_, ETIMEDOUT);
  now_ += 1s;
  EXPECT_TRUE(health_.claim_trial(now_));
  EXPECT_FALSE(health_.claim_trial(now_));
  EXPECT_EQ(avoided_for(), 2s);
}

TEST_F(AddressHealthTest, AvoidsItTwiceAsLongAfterEachTrialUpToHalfAMinute) {
  health_.failed(now_, ETIMEDOUT);
  for (const auto longer : {2s, 4s, 8s, 16s, 30s, 30s}) {
    now_ += avoided_for();
    EXPECT_TRUE(health_.claim_trial(now_));
    health_.failed(now_ + 1s, ETIMEDOUT);
    EXPECT_EQ(avoided_for(), longer);
  }
}

TEST_F(AddressHealthTest, CountsConnectionsThatFailAtOnceAsOneFailure) {
  for (int i = 0; i < 100; ++i) health_.failed(now_, ECONNREFUSED);
  EXPECT_EQ(avoided_for(), 1s);
}

TEST_F(AddressHealthTest, CountsAFailureOfOneThatWasTriedForWantOfAnother) {
  health_.failed(now_, ECONNREFUSED);
  now_ += 1s;
  health_.failed(now_, ECONNREFUSED);
  EXPECT_EQ(avoided_for(), 2s);
}

TEST_F(AddressHealthTest, ForgetsAllAtASuccess) {
  health_.failed(now_, ETIMEDOUT);
  now_ += 1s;
  EXPECT_TRUE(health_.claim_trial(now_));
  health_.succeeded();
  EXPECT_FALSE(health_.failing());
  EXPECT_FALSE(health_.avoided(now_));
  health_.failed(now_, ETIMEDOUT);
  EXPECT_EQ(avoided_for(), 1s);
}

TEST_F(AddressHealthTest, ForgetsHowOftenItFailedAfterMinutesWithoutAFailure) {
  health_.failed(now_, ETIMEDOUT);
  for (int i = 0; i < 5; ++i) {
    now_ += avoided_for();
    EXPECT_TRUE(health_.claim_trial(now_));
  }
  now_ += 10min;
  EXPECT_TRUE(health_.claim_trial(now_));
  EXPECT_EQ(avoided_for(), 1s);
}

}  // namespace
}  // namespace sallyport::gateway
