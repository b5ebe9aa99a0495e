#include "gateway/backends/warm_level.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using TimePoint = WarmPace::TimePoint;

TEST(WarmPart, OfAllShardsIsWhatWasAskedFor) {
  for (const unsigned shards : {1U, 2U, 3U, 8U}) {
    for (const std::uint32_t count : {0U, 1U, 2U, 7U, 8U, 100U}) {
      for (const std::uint64_t hash : {std::uint64_t{0}, std::uint64_t{5}, ~std::uint64_t{0}}) {
        std::uint32_t sum = 0;
        for (unsigned shard = 0; shard < shards; ++shard) {
          const std::uint32_t part = part_of_shard(count, hash, shard, shards);
          EXPECT_LE(part, (count + shards - 1) / shards);
          sum += part;
        }
        EXPECT_EQ(sum, count) << shards << " shards, hash " << hash;
      }
    }
  }
}

TEST(WarmPart, OfOneConnectionIsNotTheSameShardsForAllEndpoints) {
  EXPECT_EQ(part_of_shard(1, 0, 0, 2), 1U);
  EXPECT_EQ(part_of_shard(1, 1, 0, 2), 0U);
}

TEST(WarmPart, OfTheMaximumIsNeverLessThanThatOfTheMinimum) {
  for (unsigned shard = 0; shard < 4; ++shard)
    EXPECT_LE(part_of_shard(3, 6, shard, 4), part_of_shard(5, 6, shard, 4));
}

TEST(WarmLevel, FollowsDemandBetweenItsBounds) {
  WarmLevel level(1, 3);
  EXPECT_EQ(level.wanted(), 1U);
  for (int i = 0; i < 5; ++i) level.missed();
  EXPECT_EQ(level.wanted(), 3U);
  level.unused();
  EXPECT_EQ(level.wanted(), 2U);
  for (int i = 0; i < 5; ++i) level.unused();
  EXPECT_EQ(level.wanted(), 1U);
}

TEST(WarmLevel, OfNoMinimumFallsToNone) {
  WarmLevel level(0, 1);
  level.unused();
  EXPECT_EQ(level.wanted(), 0U);
  level.missed();
  EXPECT_EQ(level.wanted(), 1U);
  level.unused();
  EXPECT_EQ(level.wanted(), 0U);
}

TEST(WarmPace, MakesOneSoonBehindAnother) {
  WarmPace pace;
  const TimePoint now = TimePoint() + 1h;
  EXPECT_LE(pace.next(), now);
  pace.made(now);
  EXPECT_EQ(pace.next(), now + WarmPace::kBetween);
}

TEST(WarmPace, LetsAClientGoFirst) {
  WarmPace pace;
  const TimePoint now = TimePoint() + 1h;
  pace.asked(now);
  EXPECT_EQ(pace.next(), now + WarmPace::kBetween);
  pace.failed(now);
  pace.asked(now);
  EXPECT_EQ(pace.next(), now + WarmPace::kFirstPause) << "and no failure is forgotten for it";
}

TEST(WarmPace, WaitsTwiceAsLongBehindEachFailure) {
  WarmPace pace;
  const TimePoint now = TimePoint() + 1h;
  for (const auto pause : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    pace.failed(now);
    EXPECT_EQ(pace.next(), now + pause);
  }
  pace.lasted();
  pace.failed(now);
  EXPECT_EQ(pace.next(), now + 1s);
}

// It accepts, and closes at once.
TEST(WarmPace, WaitsLongerForABackendThatKeepsNone) {
  WarmPace pace;
  const TimePoint now = TimePoint() + 1h;
  pace.made(now);
  pace.lost(now, 1ms);
  EXPECT_EQ(pace.next(), now + 1s);
  pace.made(now);
  pace.lost(now, 1ms);
  EXPECT_EQ(pace.next(), now + 2s);
}

// Its own time for idle connections is shorter than ours.
TEST(WarmPace, DoesNotForABackendThatEndsThemLater) {
  WarmPace pace;
  const TimePoint now = TimePoint() + 1h;
  for (int i = 0; i < 3; ++i) {
    pace.made(now);
    pace.lost(now, 5s);
    EXPECT_EQ(pace.next(), now + 1s);
  }
}

}  // namespace
}  // namespace sallyport::gateway
