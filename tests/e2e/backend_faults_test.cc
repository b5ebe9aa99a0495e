// One of two endpoints fails, in each way there is, under each way to balance and to check: what a
// client may feel of it is in a table, and nobody feels more.
#include <array>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/fault_scenario.h"
#include "tests/support/fallible_endpoint.h"
#include "tests/support/network_namespace.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"

namespace sallyport::test {
namespace {

// What finds a fault out, so that the endpoint gets no new connection.
enum class FoundBy {
  kNothing,
  kAnswers,   // checks that want an answer
  kConnects,  // those of clients and of any check
};

struct Row {
  Fault fault;
  const char* name;
  FoundBy found_by;
  bool ejected;        // without a check that finds it, too
  const char* reason;  // of a connection that the endpoint was given; empty: it is whole in the end
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

constexpr Row kRows[] = {
    {Fault::kRefuses, "Refuses", FoundBy::kConnects, true, ""},
    {Fault::kDies, "Dies", FoundBy::kConnects, true, ""},
    {Fault::kSwallows, "SwallowsSyns", FoundBy::kConnects, true, ""},
    {Fault::kUnreachable, "IsUnreachable", FoundBy::kConnects, true, ""},
    {Fault::kQueueFull, "AcceptsNothing", FoundBy::kConnects, true, ""},
    {Fault::kSocketMissing, "HasNoSocket", FoundBy::kConnects, true, ""},
    {Fault::kSocketStale, "HasAStaleSocket", FoundBy::kConnects, true, ""},
    {Fault::kSocketForbidden, "HasASocketOfMode000", FoundBy::kConnects, true, ""},
    {Fault::kSocketQueueFull, "AcceptsNothingOnItsSocket", FoundBy::kConnects, true, ""},
    {Fault::kResets, "Resets", FoundBy::kAnswers, true, "backend_reset"},
    {Fault::kResetsLater, "ResetsLater", FoundBy::kNothing, false, "backend_reset"},
    {Fault::kEndsLater, "EndsLater", FoundBy::kNothing, false, "done"},
    {Fault::kStalls, "Stalls", FoundBy::kAnswers, false, "idle_timeout"},
    {Fault::kTrickles, "Trickles", FoundBy::kNothing, false, ""},
    {Fault::kLags, "Lags", FoundBy::kNothing, false, ""},
};

constexpr std::array kBalances{"round-robin", "least-connections", "power-of-two"};

struct Check {
  const char* name;
  const char* keys;  // of "health"; null: none
  bool wants_answer;
};
constexpr std::array kChecks{
    Check{"unchecked", nullptr, false},
    Check{"tcp", R"("type": "tcp")", false},
    Check{"http", R"("type": "http")", true},
    Check{"send", R"("type": "send-expect", "send": "PING", "expect": "PING")", true},
};

// What a connection may wait for a backend while an endpoint is silent: the next one is tried
// beside it after 250 ms. Ten times that where the machine is slower than its clock, and far from
// the connect timeout.
long longest_wait_ms() {
  const bool emulated = std::getenv("SALLYPORT_REQUIRE_KTLS") != nullptr;
  return emulated || kSanitized ? 3'000 : 300;
}

struct Made : Visit {
  bool while_broken = false;
  bool taken_out = false;  // the endpoint that fails, before it
  long starved_ms = 0;     // the shards, meanwhile
};

// One route with two endpoints, and what was seen on it.
struct Case {
  std::string route;
  const Check* check;
  std::uint64_t seed;
  std::unique_ptr<FallibleEndpoint> fallible;
  std::unique_ptr<Backend> good;
  std::vector<Made> visits;
};

class BackendFaults : public FaultScenario, public ::testing::WithParamInterface<Row> {
 protected:
  static constexpr char kFallible = 'f';
  static constexpr char kGood = 'g';

  void make_cases() {
    for (const char* balance : kBalances) {
      for (const Check& check : kChecks) {
        const std::size_t number = cases.size();
        Case& made = cases.emplace_back();
        made.route = std::string(balance) + "-" + check.name;
        made.check = &check;
        made.seed = static_cast<std::uint64_t>(row.fault) * 100 + number;
        made.good = std::make_unique<Backend>(named_echo(kGood), good_address);
        made.fallible = std::make_unique<FallibleEndpoint>(
            FallibleEndpoint::Given{.fault = row.fault,
                                    .name = kFallible,
                                    .unix_socket = dir / (std::to_string(number) + ".sock"),
                                    .bytes = 1'000 + Random(made.seed).below(60'000)});
        groups.push_back(
            {{made.fallible->address(), made.good->address()}, {{"route", made.route}}});
        routes.emplace_back(
            made.route,
            std::string(R"("balance": ")") + balance +
                R"(", "ejection": {"failures": 2, "time": "300ms", "max-time": "600ms"})" +
                (check.keys == nullptr
                     ? ""
                     : std::string(R"(, "health": {"interval": "100ms", "timeout": "1s", )") +
                           R"("rise": 1, "fall": 2, )" + check.keys + "}"));
      }
    }
  }

  // By its checks.
  bool down(const Case& on) const {
    const Metrics::Labels labels{{"route", on.route}, {"backend", on.fallible->address()}};
    const Metrics metrics = gateway->metrics();
    return metrics.has("backend_healthy", labels) && metrics.sum("backend_healthy", labels) == 0;
  }

  // Different identities, since one client alone could cause resets.
  const Made& visit_once(Case& on, Random& random) {
    ClientOptions options = to(on.route);
    options.certificate = clients[on.visits.size() % clients.size()];
    const std::string_view payload = canary_payload();
    const std::size_t size = row.fault == Fault::kTrickles ? 300 : payload.size();
    const std::string pid = std::to_string(gateway->process().pid());
    const long before = starved_ms(pid, "shard-");
    Made& made = on.visits.emplace_back(
        Made{visit(gateway->address(), std::move(options), payload.substr(0, size))});
    made.while_broken = on.fallible->broken();
    made.starved_ms = starved_ms(pid, "shard-") - before;
    // Rates are none of this test's.
    std::this_thread::sleep_for(std::chrono::milliseconds(30 + random.below(70)));
    return made;
  }
  template <class Condition>
  void visit_until(const char* what, Case& on, Random& random, Condition condition) {
    // As many routes share what CPU there is.
    const auto deadline = std::chrono::steady_clock::now() + 4 * kPatience;
    while (!condition(visit_once(on, random))) {
      if (std::chrono::steady_clock::now() > deadline)
        throw TestFailure(on.route + ": never " + what);
    }
  }

  // Until the failing one is known for what it is, where that can be.
  void visit_while_broken(Case& on, Random& random) {
    const bool checks_find_it = on.check->keys != nullptr &&
                                (row.found_by == FoundBy::kConnects ||
                                 (row.found_by == FoundBy::kAnswers && on.check->wants_answer));
    if (checks_find_it) {
      visit_until("down", on, random, [&](const Made&) { return down(on); });
      for (int i = 0; i < 3; ++i) {
        visit_once(on, random);
        on.visits.back().taken_out = true;
      }
    } else if (row.found_by == FoundBy::kConnects) {
      visit_until("tried again", on, random, [&](const Made&) {
        return of("backend_connect_failures_total", on.route, on.fallible->address()) >= 2;
      });
    } else if (row.ejected) {
      visit_until("ejected", on, random, [&](const Made&) {
        return of("backend_ejections_total", on.route, on.fallible->address()) >= 1;
      });
    } else {
      // One that stalls says no name.
      int given = 0;
      visit_until("given a connection", on, random,
                  [&](const Made& made) { return (given += made.backend == kGood ? 0 : 1) >= 2; });
    }
  }

  void drive(Case& on) {
    Random random(on.seed);
    const auto used = [](const Made& made) { return made.backend == kFallible && made.whole; };
    visit_until("used", on, random, used);
    on.fallible->break_down();
    visit_while_broken(on, random);
    on.fallible->mend();
    visit_until("used again", on, random, used);
  }

  void judge(const Case& on, const std::map<std::string, LogLine>& lines) const {
    bool first = true;
    for (const Made& each : on.visits) {
      SCOPED_TRACE(on.route + " " + each.source + " " + each.trouble);
      const LogLine& line = lines.at(each.source);
      const bool on_good = line.at("backend") == on.good->address();
      const bool felt = each.while_broken && !on_good && *row.reason != '\0';
      EXPECT_EQ(each.whole, !felt);
      if (felt) EXPECT_EQ(line.at("reason"), row.reason);
      if (each.taken_out || (each.while_broken && row.found_by == FoundBy::kConnects))
        EXPECT_TRUE(on_good);
      const bool may_wait = each.while_broken && std::exchange(first, false);
      if (!may_wait)
        EXPECT_LE(std::stod(line.at("connect_ms")), longest_wait_ms() + each.starved_ms);
    }
  }

  const Row& row = GetParam();
  std::vector<TestCertificate> clients = {
      client, root.issue({.spiffe = {"spiffe://example.org/ns/shop/sa/a"}}),
      root.issue({.spiffe = {"spiffe://example.org/ns/shop/sa/b"}}),
      root.issue({.spiffe = {"spiffe://example.org/ns/shop/sa/c"}})};
  std::string good_address = "127.0.0.1:0";
  std::vector<DiscoveryGroup> groups;
  std::vector<std::pair<std::string, std::string>> routes;
  std::vector<Case> cases;
};

TEST_P(BackendFaults, AreFeltAsTheTableSaysAndForgotten) {
  std::unique_ptr<NetworkNamespace> net;
  if (row.fault == Fault::kUnreachable) {
    net = std::make_unique<NetworkNamespace>();
    if (!net->missing().empty()) GTEST_SKIP() << net->missing();
    // Where checks hear nobody in the network, silence tells them nothing.
    NetworkNamespace::ip("addr add 10.77.1.1/32 dev lo");
    good_address = "10.77.1.1:0";
  }
  if (row.fault == Fault::kSocketForbidden) obey_modes();
  make_cases();
  Backend beside(named_echo('b'));
  groups.push_back({{beside.address()}, {{"route", "orders"}}});
  routes.emplace_back("orders", "");
  discover(groups);
  // No wait but that for another endpoint is short enough.
  std::vector<std::string> flags{"--connect-timeout", "60s"};
  if (row.fault == Fault::kStalls) flags.insert(flags.end(), {"--idle-timeout", "2s"});
  start_routes(routes, flags);

  Canary canary(gateway->address(), to("orders"));
  std::vector<std::thread> threads;
  for (Case& each : cases) {
    threads.emplace_back([this, &each] {
      try {
        drive(each);
      } catch (const TestFailure& failure) {
        ADD_FAILURE() << failure.what();
      }
    });
  }
  for (std::thread& each : threads) each.join();
  canary.end();
  EXPECT_GT(canary.visits(), 0);
  EXPECT_EQ(canary.first_harm(), "");

  std::vector<Visit> visits;
  for (const Case& each : cases)
    visits.insert(visits.end(), each.visits.begin(), each.visits.end());
  const auto lines = lines_of(visits);
  for (const Case& each : cases) judge(each, lines);
  finish();  // in the namespace
}

INSTANTIATE_TEST_SUITE_P(Endpoint, BackendFaults, ::testing::ValuesIn(kRows),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sallyport::test
