// New connections go where the policy and the labels send them.
#include <map>
#include <nlohmann/json.hpp>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Balancing : public Scenario {
 protected:
  Backend a{echo()};
  Backend b{echo()};
  Backend c{echo()};

  void start_with(const std::string& balance, const std::vector<DiscoveryGroup>& groups) {
    discover(groups);
    start({"--shards", "1", "--policy",
           dir.write("policy.json", R"({"routes": {"orders": {
          "allow": ["spiffe://example.org/**"], "balance": ")" +
                                        balance + "\"}}}")});
  }
  DiscoveryGroup group(const Backend& backend, const std::string& weight = "100",
                       const std::string& state = "ready") const {
    return {{backend.address()}, {{"route", "orders"}, {"weight", weight}, {"state", state}}};
  }
  // Which backend each of these clients got, one connection each.
  std::map<std::string, std::string> places(const std::vector<TestCertificate>& clients) const {
    std::map<std::string, std::string> places;
    for (std::size_t i = 0; i < clients.size(); ++i) EXPECT_TRUE(served(as(clients[i])));
    for (const LogLine& line : gateway->wait_logs(clients.size()))
      places[line.at("identity")] = line.at("backend");
    return places;
  }
  std::vector<TlsClient> hold(int count) const {
    std::vector<TlsClient> held;
    for (int i = 0; i < count; ++i) {
      held.push_back(connect());
      EXPECT_TRUE(held.back().echo("x"));
    }
    return held;
  }
};

TEST_F(Balancing, RoundRobinTakesTurns) {
  start_with("round-robin", {group(a), group(b), group(c)});
  for (int i = 0; i < 12; ++i) EXPECT_TRUE(served());
  EXPECT_EQ(a.accepted(), 4);
  EXPECT_EQ(b.accepted(), 4);
  EXPECT_EQ(c.accepted(), 4);
}

TEST_F(Balancing, RoundRobinHeedsWeights) {
  start_with("round-robin", {group(a, "300"), group(b, "100"), group(c, "0")});
  for (int i = 0; i < 12; ++i) EXPECT_TRUE(served());
  EXPECT_EQ(a.accepted(), 9);
  EXPECT_EQ(b.accepted(), 3);
  EXPECT_EQ(c.accepted(), 0);
}

TEST_F(Balancing, DrainingAndDownTakeNoNewConnections) {
  start_with("round-robin", {group(a), group(b, "100", "draining"), group(c, "100", "down")});
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(served());
  EXPECT_EQ(a.accepted(), 6);
  EXPECT_EQ(b.accepted() + c.accepted(), 0);
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("backend_up", {{"backend", a.address()}}), 1);
  EXPECT_EQ(metrics.sum("backend_up", {{"backend", b.address()}}), 0);
}

TEST_F(Balancing, DrainingKeepsItsConnections) {
  start_with("round-robin", {group(a)});
  TlsClient live = connect();
  ASSERT_TRUE(live.echo("hello"));
  const double before = reloads("success");
  discover({group(a, "100", "draining"), group(b)});
  wait_reload("success", before);
  EXPECT_TRUE(served());
  EXPECT_EQ(b.accepted(), 1);
  EXPECT_TRUE(live.echo("still here"));
}

TEST_F(Balancing, LeastConnectionsEvensOut) {
  start_with("least-connections", {group(a), group(b), group(c)});
  std::vector<TlsClient> held = hold(9);
  EXPECT_EQ(a.accepted(), 3);
  EXPECT_EQ(b.accepted(), 3);
  EXPECT_EQ(c.accepted(), 3);
  // The connection of a ends; a has room again.
  std::vector<TlsClient> kept;
  const std::vector<LogLine> live = parse_objects(gateway->get("/connections").body);
  std::map<std::string, std::string> backend_of;
  for (const LogLine& line : live) backend_of[line.at("client")] = line.at("backend");
  for (TlsClient& tls : held) {
    if (backend_of[tls.local_address()] == a.address()) {
      tls.close_notify();
      tls.receive_all();
    } else {
      kept.push_back(std::move(tls));
    }
  }
  held.clear();
  wait_until("they are gone", [&] { return gateway->metrics().sum("connections") == 6; });
  const std::vector<TlsClient> again = hold(3);
  EXPECT_EQ(a.accepted(), 6);
}

// Another gateway, with the endpoints in another order, agrees; without one of them only its own
// clients go elsewhere.
TEST_F(Balancing, HashIdentityGivesAClientTheSameBackendEverywhere) {
  std::vector<TestCertificate> clients;
  for (int i = 0; i < 12; ++i) {
    const std::string id = "spiffe://example.org/ns/shop/sa/client-" + std::to_string(i);
    clients.push_back(root.issue({.cn = "client", .spiffe = {id}}));
  }
  start_with("hash-identity", {group(a), group(b), group(c)});
  const auto first = places(clients);
  ASSERT_EQ(first.size(), clients.size());
  finish();
  start_with("hash-identity", {group(c), group(a), group(b)});
  EXPECT_EQ(places(clients), first);
  finish();
  start_with("hash-identity", {group(c), group(a)});
  for (const auto& [identity, backend] : places(clients)) {
    if (first.at(identity) != b.address()) EXPECT_EQ(backend, first.at(identity));
  }
}

TEST_F(Balancing, PreferZoneStaysInItWhileItCan) {
  const auto in_zone = [&](const Backend& backend, const char* zone, const char* state) {
    DiscoveryGroup made = group(backend, "100", state);
    made.labels.emplace("zone", zone);
    made.labels.emplace("tls_id", "spiffe://example.org/orders");
    return made;
  };
  discover({in_zone(a, "eu-1", "ready"), in_zone(b, "eu-2", "ready"), group(c)});
  start({"--zone", "eu-1", "--policy", dir.write("policy.json", R"({"routes": {"orders": {
             "allow": ["spiffe://example.org/**"], "prefer-zone": true}}})")});
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(served());
  EXPECT_EQ(a.accepted(), 6);
  const auto discovery = nlohmann::json::parse(gateway->get("/discovery").body);
  EXPECT_EQ(discovery["zone"], "eu-1");
  EXPECT_EQ(discovery["routes"][0]["zones"],
            nlohmann::json::parse(R"({"": 1, "eu-1": 1, "eu-2": 1})"));
  const auto routes = nlohmann::json::parse(gateway->get("/routes").body);
  EXPECT_EQ(routes[0]["prefer-zone"], true);
  EXPECT_EQ(routes[0]["endpoints"][0]["zone"], "eu-1");
  EXPECT_EQ(routes[0]["endpoints"][0]["tls_id"], "spiffe://example.org/orders");

  const double before = reloads("success");
  discover({in_zone(a, "eu-1", "draining"), in_zone(b, "eu-2", "ready"), group(c)});
  wait_reload("success", before);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(served());
  EXPECT_EQ(a.accepted(), 6);
  EXPECT_GT(b.accepted(), 0);
  EXPECT_GT(c.accepted(), 0);
}

TEST_F(Balancing, PowerOfTwoReachesAllAndOverloadsNone) {
  start_with("power-of-two", {group(a), group(b), group(c)});
  const std::vector<TlsClient> held = hold(24);
  for (const Backend* backend : {&a, &b, &c}) {
    EXPECT_GE(backend->accepted(), 3);
    EXPECT_LE(backend->accepted(), 14);
  }
}

}  // namespace
}  // namespace sallyport::test
