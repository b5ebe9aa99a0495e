// A hundred versions of the discovery file a second, under load: endpoints come, drain, change
// their weight, go and come back. Those that stay serve everybody, what is connected stays
// connected, and every connection is accounted for.
#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/fault_scenario.h"
#include "tests/support/fallible_endpoint.h"
#include "tests/support/random.h"
#include "tests/support/storm_length.h"

namespace sallyport::test {
namespace {

using namespace std::chrono_literals;

class DiscoveryChurn : public FaultScenario {
 protected:
  DiscoveryChurn() {
    for (std::size_t i = 0; i < kAll; ++i)
      backends.emplace_back(named_echo(static_cast<char>('a' + i)));
  }

  /// The first ones as they are, and of the others those that chance brings.
  std::vector<DiscoveryGroup> any_version(Random& random) const {
    std::vector<DiscoveryGroup> groups;
    for (std::size_t i = 0; i < kAll; ++i) {
      DiscoveryGroup group{{backends[i].address()}, {{"route", "orders"}}};
      if (i >= kStaying) {
        if (random.one_in(2)) continue;
        group.labels["state"] = random.one_of({"ready", "ready", "draining", "down"});
      }
      group.labels["weight"] = std::to_string(1 + random.below(100));
      groups.push_back(std::move(group));
    }
    random.shuffle(groups);
    return groups;
  }
  std::vector<DiscoveryGroup> last_version() const {
    DiscoveryGroup group{{}, {{"route", "orders"}}};
    for (std::size_t i = 0; i < kStaying; ++i) group.targets.push_back(backends[i].address());
    return {group};
  }

  static constexpr std::size_t kAll = 12;
  static constexpr std::size_t kStaying = 3;
  std::deque<Backend> backends;
};

TEST_F(DiscoveryChurn, OfAHundredVersionsASecondIsFeltByNobodyAndCounted) {
  Random random(4);
  discover(any_version(random));
  start_routes({{"orders", R"("balance": "least-connections")"}}, {"--connect-timeout", "60s"});
  std::deque<Canary> canaries;
  for (int i = 0; i < 3; ++i) canaries.emplace_back(gateway->address(), to("orders"));
  std::map<char, int> connections;  // by backend, as clients count
  std::vector<TlsClient> held;

  const auto over = std::chrono::steady_clock::now() + storm_length(5s);
  int versions = 0;
  for (; std::chrono::steady_clock::now() < over; ++versions) {
    discover(any_version(random));
    if (versions % 50 == 0 && held.size() < 20) {
      const std::string heard = held.emplace_back(connect(to("orders"))).exchange("x", 2);
      ASSERT_EQ(heard.size(), 2U);
      ++connections[heard.front()];
    }
    std::this_thread::sleep_for(10ms);
  }
  const double followed = reloads("success", "discovery");
  EXPECT_GE(followed, std::min(versions, 3));
  discover(last_version());
  wait_until("the last version is in force", [&] {
    return gateway->metrics().label_values("backend_up", "backend").size() == kStaying;
  });
  const int visits = canaries.front().visits();
  wait_until("visits behind it", [&] { return canaries.front().visits() >= visits + 10; });
  for (Canary& each : canaries) {
    each.end();
    EXPECT_EQ(each.first_harm(), "");
    for (const auto& [name, count] : each.by_backend()) connections[name] += count;
  }
  for (TlsClient& each : held) {
    EXPECT_TRUE(each.echo("it stays"));
    each.close_notify();
    each.receive_all();
  }

  int all = 0;
  for (const auto& [name, count] : connections) all += count;
  std::map<std::string, int> logged;
  for (const LogLine& line : gateway->wait_logs(static_cast<std::size_t>(all))) {
    EXPECT_EQ(line.at("reason"), "done");
    ++logged[line.at("backend")];
  }
  for (std::size_t i = 0; i < kAll; ++i)
    EXPECT_EQ(logged[backends[i].address()], connections[static_cast<char>('a' + i)]) << i;
  wait_until("all have ended", [&] { return of("backend_connections", "orders") == 0; });
  EXPECT_EQ(of("connections_closed_total", "orders"), all);
  EXPECT_EQ(of("backend_connect_duration_seconds_count", "orders"), all);
  EXPECT_EQ(of("backend_connect_failures_total", "orders"), 0);
}

}  // namespace
}  // namespace sallyport::test
