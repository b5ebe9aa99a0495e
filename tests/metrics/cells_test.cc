#include "metrics/cells.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sallyport::metrics {
namespace {

using namespace std::chrono_literals;

enum class Reason { kDone, kReset, kNoRoute };
enum class Result { kSuccess, kNoRoute, kUnknown };
constexpr std::array<std::string_view, 3> kReasons{"done", "reset", "no_route"};
constexpr std::array<std::string_view, 3> kResults{"success", "no_route", "unknown_failure"};
constexpr std::array<std::string_view, 1> kFallbacks{"not_built"};
constexpr std::array<std::string_view, 2> kCauses{"revoked", "expired"};
constexpr Vocabulary kWords{kReasons, kResults, kFallbacks, kCauses};

std::uint64_t sum(const std::vector<std::uint64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

std::uint64_t open_and_closed(const ListenerSample& sample) {
  std::uint64_t total = 0;
  for (const RouteSample& route : sample.routes) total += route.open + sum(route.closed);
  return total;
}

TEST(OpenConnection, IsUnroutedUntilRoutedAndThenClosedWithItsReason) {
  ListenerCells listener("a:1", kWords);
  std::optional<OpenConnection> connection;
  connection.emplace(listener, Reason::kReset);
  EXPECT_EQ(listener.sample().routes.at(0).open, 1U);

  connection->routed("orders");
  const ListenerSample routed = listener.sample();
  EXPECT_EQ(routed.routes.at(0).open, 0U);
  EXPECT_EQ(routed.routes.at(1).route, "orders");
  EXPECT_EQ(routed.routes.at(1).open, 1U);

  connection->ends_with(Reason::kDone);
  EXPECT_EQ(listener.sample().routes.at(1).closed, (std::vector<std::uint64_t>{1, 0, 0}));
  connection.reset();
  const ListenerSample closed = listener.sample();
  EXPECT_EQ(closed.accepted, 1U);
  EXPECT_EQ(closed.routes.at(1).open, 0U);
  EXPECT_EQ(closed.routes.at(1).closed, (std::vector<std::uint64_t>{1, 0, 0}));
}

TEST(OpenConnection, CountsTheFallbackReasonWhenNoneWasGiven) {
  ListenerCells listener("a:1", kWords);
  {
    OpenConnection connection(listener, Reason::kReset);
  }
  EXPECT_EQ(listener.sample().routes.at(0).closed, (std::vector<std::uint64_t>{0, 1, 0}));
}

TEST(OpenConnectionDeathTest, AbortsWhenRoutedTwice) {
  ListenerCells listener("a:1", kWords);
  OpenConnection connection(listener, Reason::kReset);
  connection.routed("orders");
  EXPECT_DEATH(connection.routed("users"), "routed twice: had 'orders', got 'users'");
}

TEST(StartedHandshake, IsInFlightUntilItsVerdict) {
  ListenerCells listener("a:1", kWords);
  StartedHandshake handshake(listener, Result::kUnknown);
  EXPECT_EQ(listener.sample().handshakes_in_flight, 1U);

  handshake.ends_with(Result::kSuccess, true, 3ms);
  const ListenerSample sample = listener.sample();
  EXPECT_EQ(sample.handshakes_in_flight, 0U);
  EXPECT_EQ(sample.handshakes.at(0).at(1), 1U);
  EXPECT_EQ(sample.durations.at(1).count(), 1U);
  EXPECT_EQ(sample.durations.at(0).count(), 0U);
}

TEST(StartedHandshake, EndsInTheFallbackResultWhenItIsDropped) {
  ListenerCells listener("a:1", kWords);
  {
    StartedHandshake handshake(listener, Result::kUnknown);
  }
  const ListenerSample sample = listener.sample();
  EXPECT_EQ(sample.handshakes_in_flight, 0U);
  EXPECT_EQ(sample.handshakes.at(2).at(0), 1U);
}

TEST(Histogram, PutsABoundIntoItsOwnBucketAndMoreIntoTheNext) {
  Histogram histogram;
  histogram.observe(500us);
  histogram.observe(500us + 1ns);
  histogram.observe(10s);
  histogram.observe(11s);
  histogram.observe(-1ns);
  const HistogramSample sample = histogram.sample();
  EXPECT_EQ(sample.counts.at(0), 2U);
  EXPECT_EQ(sample.counts.at(1), 1U);
  EXPECT_EQ(sample.counts.at(kBucketSeconds.size() - 1), 1U);
  EXPECT_EQ(sample.counts.back(), 1U);
  EXPECT_NEAR(sample.sum_seconds, 21.001, 1e-6);
}

TEST(ShardMetrics, CountsWhatBelongsToNoListener) {
  ShardMetrics shard(3, kWords);
  shard.negotiated("TLSv1.3", "X25519", "TLS_AES_128_GCM_SHA256");
  shard.negotiated("TLSv1.3", "X25519", "TLS_AES_128_GCM_SHA256");
  shard.negotiated("TLSv1.3", "P-256", "TLS_AES_128_GCM_SHA256");
  shard.keyupdate(Direction::kSend);
  shard.records_opened(Direction::kReceive, Records::kUserspace);
  shard.records_opened(Direction::kReceive, Records::kUserspace);
  shard.records_closed(Direction::kReceive, Records::kUserspace);
  shard.ktls_fallback(0);
  shard.busy(5s);

  const ShardSample sample = shard.sample();
  EXPECT_EQ(sample.shard, 3U);
  ASSERT_EQ(sample.negotiated.size(), 2U);
  EXPECT_EQ(sample.negotiated.at(0).count, 2U);
  EXPECT_EQ(sample.keyupdates, (std::array<std::uint64_t, 2>{0, 1}));
  EXPECT_EQ(sample.records_open.at(0), (std::array<std::uint64_t, 2>{0, 1}));
  EXPECT_EQ(sample.ktls_fallback, (std::vector<std::uint64_t>{1}));
  EXPECT_EQ(sample.busy_ns, 5'000'000'000U);
}

TEST(ShardMetrics, GivesTheSameCellsForTheSameName) {
  ShardMetrics shard(0, kWords);
  ListenerCells& listener = shard.listener("a:1");
  RouteCells& route = listener.route("orders");
  shard.listener("b:1");
  listener.route("users");
  EXPECT_EQ(&shard.listener("a:1"), &listener);
  EXPECT_EQ(&listener.route("orders"), &route);
}

// The shard counts as fast as it can, routes appearing all the time, while another thread samples:
// at no moment may a connection be missing or counted twice. Under ThreadSanitizer this is also the
// proof that the cells may be read so.
TEST(ShardMetrics, AgreesAtEveryScrapeWhileItCounts) {
  constexpr int kRounds = 20'000;
  ShardMetrics shard(0, kWords);
  std::atomic<bool> finished = false;

  std::thread writer([&] {
    ListenerCells& listener = shard.listener("a:1");
    for (int round = 0; round < kRounds; ++round) {
      std::optional<OpenConnection> kept, routed, dropped;
      kept.emplace(listener, Reason::kReset);
      StartedHandshake handshake(listener, Result::kUnknown);
      dropped.emplace(listener, Reason::kNoRoute);
      dropped.reset();
      routed.emplace(listener, Reason::kDone);
      routed->routed("route" + std::to_string(round % 200)).received(Leg::kClient, 7);
      kept->routed("other");
      routed.reset();
      if (round % 3 != 0) handshake.ends_with(Result::kSuccess, round % 2 == 0, 1ms);
      shard.negotiated("TLSv1.3", round % 2 == 0 ? "X25519" : "P-256", "suite");
      shard.records_opened(Direction::kSend, Records::kUserspace);
      shard.records_closed(Direction::kSend, Records::kUserspace);
    }
    finished.store(true);
  });

  std::uint64_t last_accepted = 0;
  for (bool last = false; !last;) {
    last = finished.load();
    const ShardSample sample = shard.sample();
    if (sample.listeners.empty()) continue;
    const ListenerSample& listener = sample.listeners.at(0);
    ASSERT_EQ(listener.accepted, open_and_closed(listener));
    ASSERT_GE(listener.accepted, last_accepted);
    last_accepted = listener.accepted;
    for (const RouteSample& route : listener.routes) {
      ASSERT_LE(route.open, listener.accepted);  // it would wrap round below zero
    }
    ASSERT_LE(listener.handshakes_in_flight, listener.accepted);
    ASSERT_LE(sample.records_open.at(1).at(1), listener.accepted);
  }
  writer.join();

  const ListenerSample listener = shard.sample().listeners.at(0);
  EXPECT_EQ(listener.accepted, 3U * kRounds);
  for (const RouteSample& route : listener.routes) EXPECT_EQ(route.open, 0U) << route.route;
  EXPECT_EQ(listener.handshakes_in_flight, 0U);
}

}  // namespace
}  // namespace sallyport::metrics
