// Everything that backends and the writers of files can do to a gateway, at once and by chance, for
// as long as somebody has the time: clients whose endpoints fail a connect feel none of it, what is
// counted is what clients counted, and nothing grows.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/e2e/fault_scenario.h"
#include "tests/support/fallible_endpoint.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/storm_length.h"

namespace sallyport::test {
namespace {

using namespace std::chrono_literals;

/// A route, what may befall its endpoints, and the canary that visits it.
struct StormyRoute {
  std::string name;
  std::string keys;
  bool strict;  // nobody may feel a thing there
  std::deque<FallibleEndpoint> fallible = {};
  std::deque<Backend> good = {};
};

class MixedFaults : public FaultScenario {
 protected:
  static constexpr const char* kEjection =
      R"("ejection": {"failures": 2, "time": "200ms", "max-time": "1s"})";

  void add_route(const std::string& balance, const std::string& check, bool strict,
                 std::initializer_list<Fault> faults) {
    StormyRoute& route = stormy.emplace_back(
        StormyRoute{.name = balance + (strict ? "" : "-rough"),
                    .keys = R"("balance": ")" + balance + "\", " + kEjection + check,
                    .strict = strict});
    for (const Fault fault : faults) {
      route.fallible.emplace_back(FallibleEndpoint::Given{
          .fault = fault,
          .name = 'f',
          .unix_socket = dir / (route.name + std::to_string(route.fallible.size()) + ".sock"),
          .bytes = 30'000});
    }
    for (int i = 0; i < 2; ++i) route.good.emplace_back(named_echo('g'));
  }

  /// The good ones, and of the others those that chance brings.
  void discover_any(Random& random) {
    std::vector<DiscoveryGroup> groups;
    for (const StormyRoute& route : stormy) {
      const auto add = [&](const std::string& target) {
        groups.push_back(
            {{target}, {{"route", route.name}, {"weight", std::to_string(50 + random.below(50))}}});
      };
      for (const Backend& each : route.good) add(each.address());
      for (const FallibleEndpoint& each : route.fallible)
        if (!random.one_in(4)) add(each.address());
    }
    discover(groups);
  }

  void act(Random& random) {
    if (random.one_in(5)) return discover_any(random);
    if (random.one_in(20)) return gateway->signal(SIGHUP);
    if (random.one_in(20)) {
      dir.replace("discovery.json", "[{");
      return;
    }
    FallibleEndpoint& any = random.any(random.any(stormy).fallible);
    any.broken() ? any.mend() : any.break_down();
  }

  /// Rages, and leaves everything whole and quiet.
  void rage(std::chrono::milliseconds length, Random& random) {
    std::deque<Canary> canaries;
    for (const StormyRoute& route : stormy)
      canaries.emplace_back(gateway->address(), to(route.name));
    const auto over = std::chrono::steady_clock::now() + length;
    while (std::chrono::steady_clock::now() < over) {
      act(random);
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random.below(100)));
    }
    for (StormyRoute& route : stormy)
      for (FallibleEndpoint& each : route.fallible) each.mend();
    discover_any(random);
    for (std::size_t i = 0; i < canaries.size(); ++i) {
      canaries[i].end();
      if (stormy[i].strict) EXPECT_EQ(canaries[i].first_harm(), "") << stormy[i].name;
      EXPECT_GT(canaries[i].whole(), 0) << stormy[i].name;
      visits[i] += canaries[i].visits();
      whole[i] += canaries[i].whole();
    }
    wait_until("all is quiet", [&] { return gateway->metrics().sum("connections") == 0; });
  }

  std::size_t descriptors() const {
    return descriptors_of(std::to_string(gateway->process().pid()));
  }

  std::deque<StormyRoute> stormy;
  std::map<std::size_t, int> visits, whole;  // by route
};

TEST_F(MixedFaults, LeaveEverythingCountedAndNothingGrown) {
  obey_modes();
  const std::string tcp =
      R"(, "health": {"type": "tcp", "interval": "100ms", "timeout": "1s", "rise": 1, "fall": 1})";
  const std::string send =
      R"(, "health": {"type": "send-expect", "send": "PING", "expect": "PING",
          "interval": "100ms", "timeout": "1s", "rise": 1, "fall": 1})";
  add_route("round-robin", "", true, {Fault::kRefuses, Fault::kSwallows, Fault::kSocketStale});
  add_route("least-connections", tcp, true,
            {Fault::kSocketMissing, Fault::kSwallows, Fault::kRefuses});
  add_route("power-of-two", send, true, {Fault::kRefuses, Fault::kSocketForbidden, Fault::kLags});
  add_route("round-robin", send, false,
            {Fault::kDies, Fault::kResets, Fault::kResetsLater, Fault::kEndsLater, Fault::kStalls});
  Random random(6);
  discover_any(random);
  std::vector<std::pair<std::string, std::string>> routes;
  for (const StormyRoute& each : stormy) routes.emplace_back(each.name, each.keys);
  start_routes(routes, {"--connect-timeout", "60s", "--idle-timeout", "10s"});

  const std::chrono::milliseconds length = storm_length(45s);
  rage(length / 3, random);
  const std::size_t descriptors_before = descriptors();
  const long rss_before = gateway->rss_kib();
  const long slab_before = slab_kib();
  rage(length - length / 3, random);

  const Metrics metrics = gateway->metrics();
  double accepted = 0;
  for (std::size_t i = 0; i < stormy.size(); ++i) {
    const Metrics::Labels of_route{{"route", stormy[i].name}};
    EXPECT_EQ(metrics.sum("connections_closed_total", of_route), visits[i]) << stormy[i].name;
    EXPECT_EQ(metrics.sum("backend_connections", of_route), 0) << stormy[i].name;
    accepted += visits[i];
    if (!stormy[i].strict) continue;
    EXPECT_EQ(whole[i], visits[i]);
    EXPECT_EQ(
        metrics.sum("connections_closed_total", {{"route", stormy[i].name}, {"reason", "done"}}),
        visits[i]);
  }
  EXPECT_EQ(metrics.sum("connections_accepted_total"), accepted);
  EXPECT_GT(metrics.sum("backend_connect_failures_total"), 0);
  EXPECT_GT(metrics.sum("backend_ejections_total"), 0);
  // Checks keep as many sockets as they needed at once in the last second.
  constexpr std::size_t kForChecks = 8;
  EXPECT_TRUE(eventually([&] { return descriptors() <= descriptors_before + kForChecks; }))
      << descriptors() << ", " << descriptors_before << " before";
  // A sanitizer keeps what was freed.
  if (!kSanitized) EXPECT_LE(gateway->rss_kib(), rss_before + 2'048);
  if (std::getenv("SALLYPORT_REQUIRE_KTLS") != nullptr)  // a guest: nobody else's
    EXPECT_LE(slab_kib(), slab_before + 2'048);
}

}  // namespace
}  // namespace sallyport::test
