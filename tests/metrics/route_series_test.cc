#include "metrics/route_series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace sallyport::metrics {
namespace {

using namespace std::chrono_literals;

enum class End { kDone, kReset };
constexpr std::array<std::string_view, 2> kEnds{"done", "reset"};
constexpr std::array<std::string_view, 1> kSuccess{"success"};
constexpr Vocabulary kWordsOfEnds{kEnds, kSuccess, {}, {}};

class RouteSeriesTest : public ::testing::Test {
 protected:
  void close_one(const std::string& route) {
    OpenConnection connection(listener_, End::kDone);
    connection.routed(route).received(Leg::kClient, 10);
    connection.route().backend_connected(3ms);
  }
  ListenerSample shown() {
    std::vector<ShardSample> samples{shard_.sample()};
    series_.apply(samples, now_);
    return samples[0].listeners.at(0);
  }
  // Null: the route has no series.
  static const RouteSample* find(const ListenerSample& listener, std::string_view route) {
    const auto found = std::ranges::find(listener.routes, route, &RouteSample::route);
    return found == listener.routes.end() ? nullptr : &*found;
  }
  static std::uint64_t closed_and_open(const ListenerSample& listener) {
    std::uint64_t sum = 0;
    for (const RouteSample& route : listener.routes) {
      sum += route.open;
      for (const std::uint64_t count : route.closed) sum += count;
    }
    return sum;
  }

  ShardMetrics shard_{0, kWordsOfEnds};
  ListenerCells& listener_ = shard_.listener("l");
  RouteSeries series_;
  RouteSeries::TimePoint now_;
};

TEST_F(RouteSeriesTest, ShowARouteFromItsConfigurationOn) {
  series_.configure({"orders"}, now_);
  const ListenerSample listener = shown();
  const RouteSample* orders = find(listener, "orders");
  ASSERT_NE(orders, nullptr);
  EXPECT_EQ(orders->closed, (std::vector<std::uint64_t>{0, 0}));
}

TEST_F(RouteSeriesTest, LeaveAnHourAfterTheRouteWasRemoved) {
  series_.configure({"orders", "users"}, now_);
  close_one("orders");
  close_one("users");
  series_.configure({"users"}, now_);
  now_ += 59min;
  EXPECT_NE(find(shown(), "orders"), nullptr);

  now_ += 1min;
  const ListenerSample listener = shown();
  EXPECT_EQ(find(listener, "orders"), nullptr);
  EXPECT_NE(find(listener, "users"), nullptr);
  EXPECT_EQ(find(listener, "")->closed[0], 1u) << "its connection is shown without a route";
  EXPECT_EQ(closed_and_open(listener), listener.accepted);
}

TEST_F(RouteSeriesTest, StayAsLongAsTheRouteHasAConnection) {
  series_.configure({"orders"}, now_);
  {
    OpenConnection open(listener_, End::kDone);
    open.routed("orders");
    series_.configure({}, now_);
    now_ += 2h;
    EXPECT_NE(find(shown(), "orders"), nullptr);
  }
  EXPECT_EQ(find(shown(), "orders"), nullptr);
}

TEST_F(RouteSeriesTest, OfARouteThatComesBackBeginAtZero) {
  series_.configure({"orders"}, now_);
  close_one("orders");
  series_.configure({}, now_);
  now_ += 1h;
  ASSERT_EQ(find(shown(), "orders"), nullptr);

  series_.configure({"orders"}, now_);
  EXPECT_EQ(find(shown(), "orders")->closed[0], 0u);
  close_one("orders");
  const ListenerSample listener = shown();
  const RouteSample* orders = find(listener, "orders");
  ASSERT_NE(orders, nullptr);
  EXPECT_EQ(orders->closed[0], 1u);
  EXPECT_EQ(orders->received_bytes[0], 10u);
  EXPECT_EQ(orders->connect.count(), 1u);
  EXPECT_EQ(closed_and_open(listener), listener.accepted);
}

TEST_F(RouteSeriesTest, StayIfTheRouteComesBackWithinTheHour) {
  series_.configure({"orders"}, now_);
  close_one("orders");
  series_.configure({}, now_);
  now_ += 30min;
  series_.configure({"orders"}, now_);
  now_ += 2h;
  EXPECT_EQ(find(shown(), "orders")->closed[0], 1u);
}

TEST_F(RouteSeriesTest, BeginAtZeroWithTheWarmConnectionsToo) {
  series_.configure({"orders"}, now_);
  RouteCells& cells = listener_.route("orders");
  cells.warm_opened();
  cells.warm_taken(true);
  cells.warm_taken(false);
  EXPECT_EQ(find(shown(), "orders")->warm, 1U);
  cells.warm_closed();
  series_.configure({}, now_);
  now_ += 1h;
  EXPECT_EQ(find(shown(), "orders"), nullptr);

  cells.warm_taken(true);
  const ListenerSample listener = shown();
  const RouteSample* const orders = find(listener, "orders");
  ASSERT_NE(orders, nullptr);
  EXPECT_EQ(orders->warm, 0U);
  EXPECT_EQ(orders->warm_hits, 1U);
  EXPECT_EQ(orders->warm_misses, 0U);
}

}  // namespace
}  // namespace sallyport::metrics
