#include "gateway/connection/end_window.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr ExpirySpread kTenMinutes{.spread = 10min, .leaf_lifetime = 24h};

TEST(EndWindow, OfAChangeIsWithinItsSpread) {
  for (const double chance : {0.0, 0.25, 0.5, 0.999}) {
    const EndWindow window = window_of_change(5s, chance);
    EXPECT_GE(window.asks_in, 0ms);
    EXPECT_LT(window.asks_in, window.ends_in);
    EXPECT_LE(window.ends_in, 5s);
  }
}

TEST(EndWindow, OfAnExpiryIsBeforeItAndWithinItsSpread) {
  for (const double chance : {0.0, 0.25, 0.5, 0.999}) {
    const EndWindow window = window_of_expiry(20min, kTenMinutes, 1h, chance);
    EXPECT_GE(window.asks_in, 10min);
    EXPECT_LE(window.ends_in, 20min);
  }
}

TEST(EndWindow, OfAnExpiryDependsOnChance) {
  EXPECT_LT(window_of_expiry(20min, kTenMinutes, 1h, 0.1).ends_in,
            window_of_expiry(20min, kTenMinutes, 1h, 0.9).ends_in);
}

TEST(EndWindow, OfAnExpiryStaysWhereItIsAsTimePasses) {
  const EndWindow early = window_of_expiry(20min, kTenMinutes, 1h, 0.5);
  const EndWindow later = window_of_expiry(15min, kTenMinutes, 1h + 5min, 0.5);
  EXPECT_EQ(early.ends_in - 5min, later.ends_in);
}

TEST(EndWindow, OfAnExpiryIsAtMostATenthOfTheLifetime) {
  const ExpirySpread short_lived{.spread = 10min, .leaf_lifetime = 10min};
  EXPECT_GE(window_of_expiry(5min, short_lived, 5min, 0).asks_in, 4min);
}

TEST(EndWindow, OfAConnectionThatBeganWithinTheSpreadEndsAtTheExpiry) {
  const EndWindow window = window_of_expiry(3min, kTenMinutes, 2min, 0);
  EXPECT_EQ(window.ends_in, 3min);
  EXPECT_GT(window.asks_in, 1min);
}

TEST(EndWindow, WithoutASpreadIsTheExpiryItself) {
  const ExpirySpread none{.spread = milliseconds(0), .leaf_lifetime = 24h};
  const EndWindow window = window_of_expiry(3min, none, 2min, 0.5);
  EXPECT_EQ(window.ends_in, 3min);
}

}  // namespace
}  // namespace sallyport::gateway
