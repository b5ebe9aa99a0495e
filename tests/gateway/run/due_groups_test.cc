#include "gateway/run/due_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr milliseconds kTogether{10};

iouring::TimePoint after(int ms) {
  return iouring::TimePoint(milliseconds(ms));
}

TEST(DueGroups, AreTakenInOrderOfTimeAndNotBefore) {
  DueGroups<char> groups;
  EXPECT_EQ(groups.next(), std::nullopt);
  EXPECT_THAT(groups.take(after(1'000)), IsEmpty());
  groups.add('c', after(35), kTogether);
  groups.add('a', after(12), kTogether);
  groups.add('b', after(20), kTogether);  // on the edge: of the group that is due then
  EXPECT_EQ(groups.next(), after(20));
  EXPECT_THAT(groups.take(after(19)), IsEmpty());
  EXPECT_THAT(groups.take(after(20)), ElementsAre('a', 'b'));
  EXPECT_EQ(groups.next(), after(40));
  EXPECT_THAT(groups.take(after(100)), ElementsAre('c'));
  EXPECT_EQ(groups.next(), std::nullopt);
}

TEST(DueGroups, NothingIsDueEarlyWhateverIsTakenTogether) {
  DueGroups<int> groups;
  for (int due = 1; due <= 100; ++due) groups.add(due, after(due), milliseconds(1 + due % 7));
  int taken = 0;
  while (const auto next = groups.next()) {
    for (const int due : groups.take(*next)) {
      EXPECT_LE(after(due), *next);
      EXPECT_LT(*next - after(due), milliseconds(1 + due % 7));
      ++taken;
    }
  }
  EXPECT_EQ(taken, 100);
}

}  // namespace
}  // namespace sallyport::gateway
