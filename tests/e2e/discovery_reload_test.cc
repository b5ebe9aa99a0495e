// The discovery file changes while connections live: whatever is wrong with the new one, the last
// good state stays in force, the error names file, line and key, and no connection ends. One
// service scaled to zero used to freeze discovery for all of them: each route is judged by itself.
#include <algorithm>
#include <filesystem>
#include <ostream>
#include <regex>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

namespace fs = std::filesystem;

class DiscoveryReload : public Scenario {
 protected:
  Backend first{named("first ")};
  Backend second{named("second ")};

  std::string reached() const {
    TlsClient tls = connect();
    const std::string name = tls.receive(6);
    tls.close_notify();
    return name + tls.receive_all();
  }
  void wait_reached(const std::string& name) const {
    wait_until("the gateway routes to " + name, [&] { return reached() == name; });
  }
  std::string group_of(const Backend& backend) const {
    return discovery_json({{{backend.address()}, {{"route", "orders"}}}});
  }
};

TEST_F(DiscoveryReload, FollowsARenameOver) {
  start_for(first);
  EXPECT_EQ(reached(), "first ");
  dir.replace("discovery.json", group_of(second));
  wait_reached("second ");
}

TEST_F(DiscoveryReload, FollowsAWriteInPlace) {
  start_for(first);
  dir.write("discovery.json", group_of(second));
  wait_reached("second ");
}

TEST_F(DiscoveryReload, FollowsASymlinkSwapAsKubernetesDoesIt) {
  fs::create_directory(dir / "..v1");
  fs::create_directory(dir / "..v2");
  dir.write("..v1/discovery.json", group_of(first));
  dir.write("..v2/discovery.json", group_of(second));
  fs::create_symlink("..v1", dir / "..data");
  fs::create_symlink("..data/discovery.json", dir / "discovery.json");
  start();
  EXPECT_EQ(reached(), "first ");
  fs::create_symlink("..v2", dir / "..data_tmp");
  fs::rename(dir / "..data_tmp", dir / "..data");
  wait_reached("second ");
}

TEST_F(DiscoveryReload, FollowsAHangup) {
  start_for(first);
  const double before = reloads("success");
  dir.replace("discovery.json", group_of(second));
  gateway->signal(SIGHUP);
  wait_reload("success", before);
  wait_reached("second ");
}

TEST_F(DiscoveryReload, KeepsLiveConnectionsOnARemovedEndpoint) {
  start_for(first);
  TlsClient live = connect();
  ASSERT_EQ(live.receive(6), "first ");
  dir.replace("discovery.json", group_of(second));
  wait_reached("second ");
  EXPECT_TRUE(live.echo("still here"));
}

TEST_F(DiscoveryReload, KeepsTheLastStateWhenTheFileIsDeletedAndFollowsItsReturn) {
  start_for(first);
  TlsClient live = connect();
  ASSERT_EQ(live.receive(6), "first ");
  const double before = reloads("failure");
  fs::remove(dir / "discovery.json");
  wait_reload("failure", before);
  EXPECT_EQ(reached(), "first ");
  EXPECT_TRUE(live.echo("still here"));
  dir.replace("discovery.json", group_of(second));
  wait_reached("second ");
}

TEST_F(DiscoveryReload, CarriesAHundredThousandEndpoints) {
  // One backend on every loopback address: a hundred thousand names for it.
  const Backend everywhere(named("every "), "0.0.0.0:0");
  start_for(first);
  TlsClient live = connect();
  ASSERT_EQ(live.receive(6), "first ");
  DiscoveryGroup group{{}, {{"route", "orders"}}};
  group.targets.reserve(100'000);
  for (int i = 0; i < 100'000; ++i) {
    group.targets.push_back("127." + std::to_string(1 + i / 62'500) + "." +
                            std::to_string(i / 250 % 250) + "." + std::to_string(1 + i % 250) +
                            ":" + everywhere.port());
  }
  const double before = reloads("success");
  dir.replace("discovery.json", discovery_json({group}));
  wait_reload("success", before);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(reached(), "every ");
  EXPECT_TRUE(live.echo("still here"));
  // And back: what was removed is gone from the metrics, too.
  dir.replace("discovery.json", group_of(second));
  wait_reached("second ");
  wait_until("old series are gone",
             [&] { return gateway->metrics().label_values("backend_up", "backend").size() == 1; });
}

TEST_F(DiscoveryReload, IgnoresGroupsWithoutARoute) {
  discover(
      {{{first.address()}, {{"route", "orders"}}}, {{"node.invalid:9100"}, {{"job", "node"}}}});
  start();
  EXPECT_EQ(reached(), "first ");
}

TEST_F(DiscoveryReload, RefusesAnUpdateThatEmptiesARoute) {
  start_for(first);
  const double before = reloads("failure");
  dir.replace("discovery.json", discovery_json({{{}, {{"route", "orders"}}}}));
  wait_reload("failure", before);
  EXPECT_EQ(reached(), "first ");
}

TEST_F(DiscoveryReload, AcceptsAnEmptyRouteWhereTheFlagAllowsIt) {
  start_for(first, {"--discovery-allow-empty"});
  dir.replace("discovery.json", discovery_json({{{}, {{"route", "orders"}}}}));
  wait_until("the route is empty", [&] {
    TlsClient tls = connect();
    tls.receive(1);
    return tls.alert() == kInternalError;
  });
  gateway->wait_log({{"reason", "no_endpoint"}});
}

TEST_F(DiscoveryReload, RefusesToRemoveMoreThanToldAtOnce) {
  discover({first.address(), second.address(), "127.0.0.1:1", "127.0.0.1:2"});
  start({"--discovery-max-removal", "50"});
  const double before = reloads("failure");
  dir.replace("discovery.json", group_of(second));
  wait_reload("failure", before);
  const double good = reloads("success");
  dir.replace("discovery.json",
              discovery_json({{{first.address(), second.address()}, {{"route", "orders"}}}}));
  wait_reload("success", good);
}

class DiscoveryOfTwoRoutes : public DiscoveryReload {
 protected:
  DiscoveryGroup group(const Backend& backend, const std::string& route) const {
    return {{backend.address()}, {{"route", route}}};
  }
  void set_policy(const std::string& more_of_billing = "") {
    dir.replace("policy.json",
                R"({"routes": {"orders": {"allow": ["spiffe://example.org/**"]},
                               "billing": {"sni": ["billing.example.org"],
                                           "allow": ["spiffe://example.org/**"])" +
                    more_of_billing + "}}}");
  }
  void start_both() {
    set_policy();
    discover({group(first, "orders"), group(second, "billing")});
    start({"--policy", dir / "policy.json"});
  }
  double current(const std::string& route) const {
    return gateway->metrics().sum("discovery_route_current", {{"route", route}});
  }
  double source_current() const {
    return gateway->metrics().sum("config_source_current", {{"source", "discovery"}});
  }
};

TEST_F(DiscoveryOfTwoRoutes, FollowOneWhileTheOtherIsRefused) {
  start_both();
  const double failures = reloads("failure");
  const std::size_t from = gateway->err_size();
  dir.replace("discovery.json",
              discovery_json({{{}, {{"route", "billing"}}}, group(second, "orders")}));
  wait_reached("second ");
  wait_reload("failure", failures);
  gateway->wait_err({"billing", "would be left with none"}, from);
  EXPECT_EQ(current("billing"), 0);
  EXPECT_EQ(current("orders"), 1);
  EXPECT_EQ(source_current(), 0);
  EXPECT_TRUE(gateway->ready());

  set_policy(R"(, "allow-empty": true)");
  wait_until("the policy lets it be empty", [&] { return current("billing") == 1; });
  EXPECT_EQ(source_current(), 1);
  EXPECT_EQ(reloads("failure"), failures + 1) << "counted once";
}

TEST_F(DiscoveryOfTwoRoutes, RetireOneByItsPolicyFirst) {
  start_both();
  dir.replace("policy.json", R"({"routes": {"orders": {"allow": ["spiffe://example.org/**"]}}})");
  wait_until("the policy is in force", [&] { return reloads("success", "policy") == 1; });
  dir.replace("discovery.json", discovery_json({group(second, "orders")}));
  wait_reached("second ");
  EXPECT_EQ(reloads("failure"), 0);
}

TEST_F(DiscoveryOfTwoRoutes, StartWithOneThatIsRefusedAndFollowItsRepair) {
  set_policy();
  discover({group(first, "orders"), {{"no-port"}, {{"route", "billing"}}}});
  const Finished checked = run_sallyport(flags({"--policy", dir / "policy.json", "--check"}));
  EXPECT_EQ(checked.status, 2);
  EXPECT_NE(checked.err.find("no-port"), std::string::npos) << checked.err;

  start({"--policy", dir / "policy.json"});
  gateway->wait_err({"warn", "billing", "no-port"});
  EXPECT_EQ(reached(), "first ");
  EXPECT_EQ(current("billing"), 0);
  dir.replace("discovery.json", discovery_json({group(first, "orders"), group(second, "billing")}));
  wait_until("it is repaired", [&] { return current("billing") == 1; });
}

TEST_F(DiscoveryOfTwoRoutes, DoNotStartIfBothAreRefused) {
  set_policy();
  discover({{{"a"}, {{"route", "orders"}}}, {{"b"}, {{"route", "billing"}}}});
  const Finished finished = run_sallyport(flags({"--policy", dir / "policy.json"}));
  EXPECT_EQ(finished.status, 2) << finished.err;
  EXPECT_NE(finished.err.find("the port is missing"), std::string::npos) << finished.err;
}

TEST_F(DiscoveryReload, LetsAllEndpointsBeSwappedAtOnce) {
  start_for(first, {"--discovery-max-removal", "50"});
  dir.replace("discovery.json", group_of(second));
  wait_reached("second ");
  EXPECT_EQ(reloads("failure"), 0);
}

// Backends come and go all day, and each change repeated every warning of the start.
TEST_F(DiscoveryReload, WarnsOnceOfWhatAChangeLeavesAsItWas) {
  const auto warnings = [&](const std::string& text) {
    return std::ranges::count_if(gateway->operational_log(), [&](const LogLine& line) {
      const auto warning = line.find("warning");
      return warning != line.end() && warning->second.find(text) != std::string::npos;
    });
  };
  const DiscoveryGroup twice{{first.address(), first.address()}, {{"route", "orders"}}};
  const DiscoveryGroup ignored{{"node.invalid:9100"}, {{"job", "node"}}};
  discover({twice, ignored});
  start({"--discovery-allow-empty"});
  gateway->wait_err({"is in route 'orders' already"});
  const double before = reloads("success");
  dir.replace("discovery.json",
              "\n\n" + discovery_json({twice, {{}, {{"route", "billing"}}}, ignored}));
  wait_reload("success", before);
  const DiscoveryGroup also{{second.address(), second.address()}, {{"route", "billing"}}};
  dir.replace("discovery.json", discovery_json({also, twice, ignored}));
  gateway->wait_err({"is in route 'billing' already"});
  EXPECT_EQ(warnings("is in route 'orders' already"), 1);
  EXPECT_EQ(std::ranges::count(gateway->operational_log(), "groups without a route label ignored",
                               [](const LogLine& line) { return line.at("message"); }),
            1);
  gateway->signal(SIGHUP);
  wait_until("an operator is told all of them",
             [&] { return warnings("is in route 'orders' already") == 2; });
}

struct BrokenDiscoveryFile {
  const char* name;
  std::string content;
  const char* named_in_error;  ///< the key or value that the log line must name beside the place
  friend void PrintTo(const BrokenDiscoveryFile& file, std::ostream* out) { *out << file.name; }
};

class BrokenDiscovery : public DiscoveryReload,
                        public ::testing::WithParamInterface<BrokenDiscoveryFile> {};

TEST_P(BrokenDiscovery, LeavesTheLastGoodStateAndNamesThePlace) {
  start_for(first);
  TlsClient live = connect();
  ASSERT_EQ(live.receive(6), "first ");
  const double failures = reloads("failure");
  const std::size_t from = gateway->err_size();
  dir.replace("discovery.json", GetParam().content);
  wait_reload("failure", failures);
  const std::string line = gateway->wait_err({"discovery.json", GetParam().named_in_error}, from);
  EXPECT_TRUE(is_json(line)) << line;
  EXPECT_TRUE(std::regex_search(line, std::regex("discovery.json:[1-9][0-9]*:"))) << line;

  EXPECT_EQ(reached(), "first ");
  EXPECT_TRUE(live.echo("still here"));
  EXPECT_TRUE(gateway->ready());
  dir.replace("discovery.json", group_of(second));
  wait_reached("second ");
  EXPECT_TRUE(live.echo("and here"));
}

std::vector<BrokenDiscoveryFile> broken_discoveries() {
  const auto labels = [](const std::string& more) {
    return "[{\"targets\": [\"127.0.0.1:1\"],\n  \"labels\": {\"route\": \"orders\"" + more + "}}]";
  };
  return {
      {"Truncated", "[{\"targets\": [\"127.0.0.1:1\"],\n \"labels\": {\"rou", ""},
      {"Empty", "", ""},
      {"NotAList", "{}", ""},
      {"DuplicateKey", labels(", \"route\": \"orders\""), "route"},
      {"UnknownKey", "[{\"targets\": [], \"labels\": {\"route\": \"orders\"},\n \"lables\": {}}]",
       "lables"},
      {"NotUtf8", labels(", \"team\": \"\xff\xfe\""), ""},
      {"BadWeight", labels(", \"weight\": \"65536\""), "weight"},
      {"WeightThatIsNoString", labels(", \"weight\": 5"), "weight"},
      {"BadState", labels(", \"state\": \"up\""), "state"},
      {"TargetWithoutPort", "[{\"targets\": [\"127.0.0.1\"], \"labels\": {\"route\": \"orders\"}}]",
       "127.0.0.1"},
      {"NothingButBraces", std::string(100'000, '['), ""},
  };
}

INSTANTIATE_TEST_SUITE_P(Files, BrokenDiscovery, ::testing::ValuesIn(broken_discoveries()),
                         [](const auto& file) { return std::string(file.param.name); });

}  // namespace
}  // namespace sallyport::test
