#include "gateway/connection/limit_table.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr LimitTable::Time kNow{100h};

TEST(LimitTable, LetsEachKeyHaveItsNumber) {
  LimitTable table(100);
  std::vector<LimitTable::Place> held;
  for (std::uint64_t key = 1; key <= 20; ++key) {
    for (int i = 0; i < 5; ++i) {
      auto place = table.enter(key, 5, kNow);
      ASSERT_TRUE(place) << key << " " << i;
      held.push_back(std::move(place));
    }
    EXPECT_FALSE(table.enter(key, 5, kNow)) << key;
    EXPECT_TRUE(table.enter(key, 6, kNow)) << "by another limit";
  }
  held.erase(held.begin() + 7);  // of key 2
  EXPECT_FALSE(table.enter(1, 5, kNow));
  EXPECT_TRUE(table.enter(2, 5, kNow));
}

TEST(LimitTable, HasRoomForAsManyKeysAsConnections) {
  constexpr std::uint64_t kMany = 50'000;
  LimitTable table(kMany);
  EXPECT_LE(table.slots(), 4 * kMany);
  std::vector<LimitTable::Place> held;
  for (std::uint64_t key = 0; key < kMany; ++key) {
    auto place = table.enter(key, 1, kNow);
    ASSERT_TRUE(place) << key;
    held.push_back(std::move(place));
  }
  for (std::uint64_t key = 0; key < kMany; ++key) ASSERT_FALSE(table.enter(key, 1, kNow)) << key;
}

TEST(LimitTable, IsExactWhateverThreadsDo) {
  LimitTable table(1'000);
  constexpr int kThreads = 4;
  constexpr std::uint64_t kKeys = 8;
  constexpr std::uint32_t kMost = 3;
  std::array<std::atomic<unsigned>, kKeys> open{};
  std::atomic<bool> exceeded = false;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::vector<std::pair<std::uint64_t, LimitTable::Place>> held;
      for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t key = static_cast<std::uint64_t>(i * 7 + thread) % kKeys;
        if (auto place = table.enter(key, kMost, kNow)) {
          if (++open.at(key) > kMost) exceeded = true;
          held.emplace_back(key, std::move(place));
        }
        if (held.size() > 2) {
          --open.at(held.front().first);
          held.erase(held.begin());
        }
      }
      for (const auto& [key, place] : held) --open.at(key);
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_FALSE(exceeded);
  std::vector<LimitTable::Place> all;
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    for (std::uint32_t i = 0; i < kMost; ++i) {
      auto place = table.enter(key, kMost, kNow);
      ASSERT_TRUE(place) << "every place was given back";
      all.push_back(std::move(place));
    }
  }
}

// What is let in of steady attempts, over ten seconds.
TEST(LimitTable, KeepsTheRateWithinATenth) {
  for (const std::uint32_t rate : {1U, 5U, 50U, 1'000U}) {
    LimitTable table(100);
    unsigned in = 0;
    for (auto now = kNow; now < kNow + 10s; now += 250us) in += table.take(7, rate, now) ? 1 : 0;
    EXPECT_LE(in, rate * 11) << rate;
    EXPECT_GE(in, rate * 10) << rate;
  }
}

TEST(LimitTable, BurstsAddUpToNoMoreThanTheRateAndOneBurst) {
  LimitTable table(100);
  std::vector<LimitTable::Time> in;
  // In bursts at odd times.
  for (auto burst = kNow; burst < kNow + 20s; burst += 370ms)
    for (int i = 0; i < 40; ++i)
      if (table.take(7, 50, burst + i * 1us)) in.push_back(burst + i * 1us);
  EXPECT_LE(in.size(), 20U * 50U + 50U);
  EXPECT_GE(in.size(), 20U * 50U * 7 / 10);
}

TEST(LimitTable, ABurstOfASecondsWorthIsLetIn) {
  LimitTable table(100);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(table.take(7, 50, kNow)) << i;
  EXPECT_FALSE(table.take(7, 50, kNow));
  EXPECT_TRUE(table.take(8, 50, kNow)) << "another key";
  EXPECT_TRUE(table.take(7, 50, kNow + 20ms)) << "a fiftieth of a second later";
  EXPECT_FALSE(table.take(7, 50, kNow + 20ms));
}

// More keys than slots, all at once: memory stays what it was, and those that are known stay.
TEST(LimitTable, MillionsOfKeysNeedNoMoreMemory) {
  LimitTable table(1'000);
  auto kept = table.enter(1, 1, kNow);
  ASSERT_TRUE(kept);
  const std::size_t slots = table.slots();
  unsigned refused = 0;
  for (std::uint64_t key = 2; key < 2'000'000; ++key) refused += table.take(key, 1, kNow) ? 0 : 1;
  EXPECT_EQ(table.slots(), slots);
  EXPECT_EQ(refused, 0U) << "none of them came twice";
  EXPECT_FALSE(table.enter(1, 1, kNow)) << "a key with connections is never forgotten";
}

}  // namespace
}  // namespace sallyport::gateway
