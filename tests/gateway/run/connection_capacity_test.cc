#include "gateway/run/connection_capacity.h"

#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

TEST(ConnectionCapacity, IsTwoSlotsOfEachShardsTablePerConnection) {
  const ConnectionCapacity capacity = connection_capacity(1024, 4, true);
  EXPECT_EQ(capacity.registered_descriptors, 1024u);
  EXPECT_EQ(capacity.connections, 2048u);
}

TEST(ConnectionCapacity, ATableHasAtMost262144Slots) {
  const ConnectionCapacity capacity = connection_capacity(1'000'000'000, 2, true);
  EXPECT_EQ(capacity.registered_descriptors, 262'144u);
  EXPECT_EQ(capacity.connections, 262'144u);
}

TEST(ConnectionCapacity, WithoutATableIsTwoDescriptorsOfTheProcessPerConnection) {
  const ConnectionCapacity capacity = connection_capacity(1024, 4, false);
  EXPECT_EQ(capacity.registered_descriptors, 0u);
  EXPECT_EQ(capacity.connections, (1024u - 128u - 64u - 64u) / 2)
      << "128 are for other things, one in sixteen for checks, and as many for warm connections";
}

TEST(ConnectionCapacity, ChecksAreAtMost1024) {
  EXPECT_EQ(connection_capacity(20'000, 1, true).checks, 1024u);
  EXPECT_EQ(connection_capacity(1024, 1, true).checks, 64u);
  EXPECT_EQ(connection_capacity(8, 1, false).checks, 1u);
}

TEST(ConnectionCapacity, WarmConnectionsHaveDescriptorsOfTheProcess) {
  EXPECT_EQ(connection_capacity(1024, 4, true).warm, 256u);
  EXPECT_EQ(connection_capacity(1024, 4, false).warm, 64u);
}

TEST(ConnectionCapacity, IsOneConnectionWhereDescriptorsAreVeryFew) {
  EXPECT_EQ(connection_capacity(0, 1, false).connections, 1u);
  EXPECT_EQ(connection_capacity(128, 8, false).connections, 1u);
}

}  // namespace
}  // namespace sallyport::gateway
