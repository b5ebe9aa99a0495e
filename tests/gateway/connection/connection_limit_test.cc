#include "gateway/connection/connection_limit.h"

#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

TEST(ConnectionLimit, TakesSoManyAndOneMoreForEachThatLeaves) {
  ConnectionLimit limit(2);
  auto one = limit.enter();
  const auto two = limit.enter();
  EXPECT_TRUE(one && two);
  EXPECT_FALSE(limit.enter());
  one.reset();
  EXPECT_TRUE(limit.enter());
}

TEST(ConnectionLimit, TakesThePlaceOfOneThatLingers) {
  int told = 0;
  ConnectionLimit limit(1, [&told] { ++told; });
  const auto lingering = limit.enter();
  limit.lingers();
  EXPECT_FALSE(limit.settle()) << "not before its place is needed";
  EXPECT_TRUE(limit.enter());
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(limit.settle());
  EXPECT_FALSE(limit.settle()) << "one ends for one";
}

TEST(ConnectionLimit, DoesNotTakeAPlaceTwice) {
  ConnectionLimit limit(1);
  const auto lingering = limit.enter();
  limit.lingers();
  const auto other = limit.enter();
  EXPECT_TRUE(other);
  EXPECT_FALSE(limit.enter());
}

TEST(ConnectionLimit, IsOwedNothingOnceTheOneThatLingeredHasEndedByItself) {
  ConnectionLimit limit(1);
  auto lingering = limit.enter();
  limit.lingers();
  const auto other = limit.enter();
  limit.lingers_no_more();
  lingering.reset();
  EXPECT_FALSE(limit.settle());
  EXPECT_FALSE(limit.enter());
}

}  // namespace
}  // namespace sallyport::gateway
