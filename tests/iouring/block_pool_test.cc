#include "iouring/block_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

namespace sallyport::iouring {
namespace {

TEST(BlockPool, RoundsToPagesAndHoldsFourRecords) {
  const BlockPool pool;
  EXPECT_GE(pool.block_bytes(), 4U * (16384 + 256 + 5));
  EXPECT_EQ(BlockPool(1).block_bytes(), 4096U);
}

TEST(BlockPool, GivesWritableBlocksAndCountsThem) {
  BlockPool pool;
  {
    const Block first = pool.acquire();
    Block second = pool.acquire();
    EXPECT_EQ(pool.live_blocks(), 2U);
    std::memset(first.data(), 1, first.size());
    std::memset(second.data(), 2, second.size());
    const Block moved = std::move(second);
    EXPECT_EQ(pool.live_blocks(), 2U);
    EXPECT_EQ(moved.size(), pool.block_bytes());
  }
  EXPECT_EQ(pool.live_blocks(), 0U);
  EXPECT_LE(pool.idle_bytes(), BlockPool::kIdleBytes);
}

TEST(BlockPool, KeepsLittleWhenIdle) {
  BlockPool pool;
  std::vector<Block> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(pool.acquire());
  blocks.clear();
  EXPECT_EQ(pool.live_blocks(), 0U);
  EXPECT_LE(pool.idle_bytes(), BlockPool::kIdleBytes);
}

TEST(BlockPool, KeepsNoMoreIdleThanInUseWhileBusy) {
  BlockPool pool;
  std::vector<Block> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(pool.acquire());
  blocks.resize(60);
  EXPECT_EQ(pool.idle_bytes(), 40 * pool.block_bytes());
  blocks.resize(20);
  EXPECT_EQ(pool.idle_bytes(), 20 * pool.block_bytes());
}

TEST(BlockPool, KeepsWhatABusyPeriodNeedsAndGivesItBackAfterAQuietOne) {
  TimerWheel wheel(std::chrono::steady_clock::now());
  BlockPool pool(BlockPool::kDefaultBytes, &wheel);
  const auto use = [&pool](int count) {
    std::vector<Block> blocks;
    for (int i = 0; i < count; ++i) blocks.push_back(pool.acquire());
  };
  const auto let_a_period_pass = [&] {
    const std::size_t before = pool.idle_bytes();
    while (wheel.armed() > 0 && pool.idle_bytes() == before) wheel.advance(*wheel.next());
  };

  use(100);
  EXPECT_EQ(pool.idle_bytes(), 100 * pool.block_bytes());
  use(60);
  let_a_period_pass();
  EXPECT_EQ(pool.idle_bytes(), 60 * pool.block_bytes());
  let_a_period_pass();
  EXPECT_LE(pool.idle_bytes(), BlockPool::kIdleBytes);
  EXPECT_EQ(wheel.armed(), 0U);
}

TEST(BlockPool, LetsABlockGoEarly) {
  BlockPool pool;
  Block block = pool.acquire();
  block.release();
  EXPECT_FALSE(block);
  EXPECT_EQ(block.size(), 0U);
  EXPECT_EQ(pool.live_blocks(), 0U);
  block.release();
}

using BlockPoolDeathTest = ::testing::Test;

TEST(BlockPoolDeathTest, AbortsWhenItDiesBeforeABlock) {
  EXPECT_DEATH(
      {
        auto pool = std::make_unique<BlockPool>();
        const Block block = pool->acquire();
        pool.reset();
      },
      "a block pool outlives its blocks.*found 1");
}

}  // namespace
}  // namespace sallyport::iouring
