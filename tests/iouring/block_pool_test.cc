#include "iouring/block_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

namespace sallyport::iouring {
namespace {

class BlockPoolTest : public ::testing::Test {
 protected:
  /// Takes so many blocks at once and gives them back.
  void use(int count) {
    std::vector<Block> blocks;
    for (int i = 0; i < count; ++i) blocks.push_back(pool_.acquire());
  }
  void let_a_period_pass() {
    const std::size_t before = pool_.idle_bytes();
    while (wheel_.armed() > 0 && pool_.idle_bytes() == before) wheel_.advance(*wheel_.next());
  }

  TimerWheel wheel_{std::chrono::steady_clock::now()};
  BlockPool pool_{wheel_};
};

TEST_F(BlockPoolTest, RoundsToPagesAndHoldsFourRecords) {
  EXPECT_GE(pool_.block_bytes(), 4U * (16384 + 256 + 5));
  EXPECT_EQ(BlockPool(wheel_, 1).block_bytes(), 4096U);
}

TEST_F(BlockPoolTest, GivesWritableBlocksAndCountsThem) {
  {
    const Block first = pool_.acquire();
    Block second = pool_.acquire();
    EXPECT_EQ(pool_.live_blocks(), 2U);
    std::memset(first.data(), 1, first.size());
    std::memset(second.data(), 2, second.size());
    const Block moved = std::move(second);
    EXPECT_EQ(pool_.live_blocks(), 2U);
    EXPECT_EQ(moved.size(), pool_.block_bytes());
  }
  EXPECT_EQ(pool_.live_blocks(), 0U);
}

TEST_F(BlockPoolTest, KeepsAsManyIdleAsInUseWhileBusy) {
  std::vector<Block> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(pool_.acquire());
  blocks.resize(60);
  EXPECT_EQ(wheel_.armed(), 0U) << "nothing to give back";
  EXPECT_EQ(pool_.idle_bytes(), 40 * pool_.block_bytes());
  blocks.resize(20);
  while (wheel_.armed() > 0) let_a_period_pass();
  EXPECT_EQ(pool_.idle_bytes(), 20 * pool_.block_bytes());
}

TEST_F(BlockPoolTest, KeepsBlocksThroughABusyPeriodAndUnmapsThemAfterAQuietOne) {
  use(100);
  EXPECT_EQ(pool_.idle_bytes(), 100 * pool_.block_bytes());
  use(60);
  let_a_period_pass();
  EXPECT_EQ(pool_.idle_bytes(), 60 * pool_.block_bytes());
  let_a_period_pass();
  EXPECT_EQ(pool_.live_blocks(), 0U);
  EXPECT_LE(pool_.idle_bytes(), BlockPool::kIdleBytes);
  EXPECT_EQ(wheel_.armed(), 0U);
}

TEST_F(BlockPoolTest, ReleasesABlockBeforeItIsDestroyed) {
  Block block = pool_.acquire();
  block.release();
  EXPECT_FALSE(block);
  EXPECT_EQ(block.size(), 0U);
  EXPECT_EQ(pool_.live_blocks(), 0U);
  block.release();
}

using BlockPoolDeathTest = ::testing::Test;

TEST(BlockPoolDeathTest, AbortsWhenDestroyedBeforeABlock) {
  EXPECT_DEATH(
      {
        TimerWheel wheel(std::chrono::steady_clock::now());
        auto pool = std::make_unique<BlockPool>(wheel);
        const Block block = pool->acquire();
        pool.reset();
      },
      "a block pool outlives its blocks.*found 1");
}

}  // namespace
}  // namespace sallyport::iouring
