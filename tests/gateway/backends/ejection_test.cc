#include "gateway/backends/ejection.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr iouring::TimePoint kMoment{1h};
constexpr Ejection kThird{.failures = 3, .time = 10s, .max_time = 5min};

EndpointSet::Pointer ejection_set(std::size_t endpoints) {
  std::string text = R"([{"labels": {"route": "r"}, "targets": [)";
  for (std::size_t i = 0; i < endpoints; ++i)
    text += (i > 0 ? ",\"" : "\"") + std::string("10.0.0.") + std::to_string(i + 1) + ":1\"";
  return EndpointSet::build(*parse_discovery(text + "]}]", "d"), {}, nullptr, kMoment);
}

std::size_t ejected(const RouteEndpoints& route, iouring::TimePoint now) {
  std::size_t count = 0;
  for (const auto& endpoint : route.endpoints) count += endpoint->life->ejected(now) ? 1 : 0;
  return count;
}

TEST(Ejection, ComesWithTheFailuresOfTheRule) {
  const auto set = ejection_set(2);
  const RouteEndpoints& route = *set->find("r");
  const Endpoint& endpoint = *route.endpoints[0];
  EXPECT_FALSE(eject_if_due(route, endpoint, 2, kThird, kMoment, 0));
  EXPECT_TRUE(eject_if_due(route, endpoint, 3, kThird, kMoment, 0));
  EXPECT_EQ(endpoint.standing(kMoment), Standing::kEjected);
  EXPECT_FALSE(endpoint.up(kMoment));
  EXPECT_FALSE(eject_if_due(route, endpoint, 9, kThird, kMoment, 0)) << "it is";
  EXPECT_TRUE(endpoint.up(kMoment + 10s));
}

TEST(Ejection, TakesNoMoreThanHalf) {
  for (const std::size_t endpoints : {1U, 2U, 3U, 4U, 9U}) {
    const auto set = ejection_set(endpoints);
    const RouteEndpoints& route = *set->find("r");
    for (const auto& endpoint : route.endpoints)
      eject_if_due(route, *endpoint, 3, kThird, kMoment, 0);
    EXPECT_EQ(ejected(route, kMoment), endpoints / 2) << endpoints;
    for (const auto& endpoint : route.endpoints)
      eject_if_due(route, *endpoint, 3, kThird, kMoment + 10s, 0);
    EXPECT_EQ(ejected(route, kMoment + 10s), endpoints / 2) << "as those before are over";
  }
}

// Shards decide at the same time.
TEST(Ejection, TakesNoMoreThanHalfWhenManyThreadsDecide) {
  for (int round = 0; round < 50; ++round) {
    const auto set = ejection_set(8);
    const RouteEndpoints& route = *set->find("r");
    std::atomic<int> ready = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        ready.fetch_add(1);
        while (ready.load() < 4) std::this_thread::yield();
        for (const auto& endpoint : route.endpoints)
          eject_if_due(route, *endpoint, 3, kThird, kMoment, 0);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(ejected(route, kMoment), 4U);
    EXPECT_GE(ejected(route, kMoment), 1U);
  }
}

}  // namespace
}  // namespace sallyport::gateway
