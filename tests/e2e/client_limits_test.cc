// What one client may have: by its address, by its identity, of a route and of an endpoint.
#include <map>
#include <string>
#include <vector>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class ClientLimit : public Scenario {
 protected:
  Gateway& start_with(const std::string& keys, const std::vector<std::string>& flags = {}) {
    dir.write("policy.json",
              R"({"routes": {"orders": {"allow": ["spiffe://example.org/**"], )" + keys + "}}}");
    std::vector<std::string> all{"--policy", (dir.path() / "policy.json").string()};
    all.insert(all.end(), flags.begin(), flags.end());
    return start(all);
  }
  double reached(const std::string& limit, const std::string& route = "orders") const {
    return gateway->metrics().sum("limit_reached_total", {{"route", route}, {"limit", limit}});
  }
  /// Each connection's was counted once, by these results and no others.
  void expect_handshakes(const std::map<std::string, double>& by_result) const {
    const Metrics metrics = gateway->metrics();
    double all = 0;
    for (const auto& [result, count] : by_result) {
      EXPECT_EQ(metrics.sum("tls_handshakes_total", {{"result", result}}), count) << result;
      all += count;
    }
    EXPECT_EQ(metrics.sum("tls_handshakes_total"), all);
    EXPECT_EQ(metrics.sum("connections_accepted_total"), all);
  }
  /// Ends it and waits until the gateway has noticed.
  void end(TlsClient& open, int left) const {
    open.close_notify();
    open.receive_all();
    EXPECT_TRUE(eventually([&] { return gateway->metrics().sum("connections", {}) == left; }));
  }

  TestCertificate other =
      root.issue({.cn = "other", .spiffe = {"spiffe://example.org/ns/shop/sa/other"}});
};

TEST_F(ClientLimit, AnIdentityHasItsConnectionsAndNoMore) {
  Backend backend(echo());
  discover({backend.address()});
  start_with(R"("limits": {"connections-per-identity": 2})", {"--shards", "2"});
  TlsClient one = connect();
  EXPECT_TRUE(one.echo("a"));
  TlsClient two = connect();
  EXPECT_TRUE(two.echo("b"));
  EXPECT_EQ(reached("connections-per-identity"), 0) << "there from the start";
  for (int i = 0; i < 4; ++i) expect_refused(as(client), "limit_reached", kAccessDenied);
  EXPECT_EQ(reached("connections-per-identity"), 4);
  expect_handshakes({{"success", 2}, {"limit_reached", 4}});
  EXPECT_TRUE(served(as(other))) << "another identity";
  end(one, 1);
  EXPECT_TRUE(served());
  EXPECT_TRUE(two.echo("c"));
}

TEST_F(ClientLimit, AnIdentityHasItsHandshakesASecondResumedOnesIncluded) {
  Backend backend(echo());
  discover({backend.address()});
  start_with(R"("limits": {"handshakes-per-identity": "3/s"})");
  ClientOptions resuming = as(client);
  int served_ones = 0;
  EXPECT_TRUE(eventually([&] {
    TlsClient again = connect(resuming);
    if (again.connected() && again.echo("x")) {
      ++served_ones;
      resuming.session = again.session();
    }
    again.close_notify();
    again.receive_all();
    return reached("handshakes-per-identity") >= 1;
  }));
  EXPECT_GE(served_ones, 3);
  EXPECT_TRUE(served(as(other)));
  EXPECT_TRUE(eventually([&] { return bool{served()}; })) << "when the second is over";
}

TEST_F(ClientLimit, AnAddressHasItsConnectionsAndIsToldInPlaintextBeforeAnyCrypto) {
  Backend backend(echo());
  discover({backend.address()});
  start_with(R"("balance": "round-robin")", {"--max-connections-per-address", "2"});
  TlsClient one = connect();
  EXPECT_TRUE(one.echo("a"));
  TlsClient two = connect();
  EXPECT_TRUE(two.echo("b"));
  expect_refused(as(other), "limit_reached", kInternalError);
  EXPECT_EQ(reached("max-connections-per-address", ""), 1);
  expect_handshakes({{"success", 2}, {"limit_reached", 1}});
  end(two, 1);
  EXPECT_TRUE(served(as(other)));
  EXPECT_TRUE(one.echo("c"));
}

TEST_F(ClientLimit, AnAddressHasItsHandshakesASecond) {
  Backend backend(echo());
  discover({backend.address()});
  start_with(R"("balance": "round-robin")", {"--max-handshakes-per-address", "2"});
  EXPECT_TRUE(eventually([&] {
    TlsClient again = connect();
    again.close_notify();
    again.receive_all();
    return reached("max-handshakes-per-address", "") >= 1;
  }));
  EXPECT_TRUE(eventually([&] { return bool{served()}; }));
}

TEST_F(ClientLimit, ARouteHasItsConnectionsAndTheNextWaitsForAPlace) {
  Backend backend(echo());
  discover({backend.address()});
  start_with(R"("max-connections": 1)", {"--connect-timeout", "60s", "--shards", "2"});
  TlsClient one = connect();
  EXPECT_TRUE(one.echo("a"));
  TlsClient waiting = connect();
  EXPECT_TRUE(waiting.connected());
  EXPECT_EQ(backend.accepted(), 1);
  one.close_notify();
  one.receive_all();
  EXPECT_TRUE(waiting.echo("b")) << "it has the place";
  EXPECT_EQ(reached("max-connections"), 0);
}

TEST_F(ClientLimit, AnEndpointHasItsConnectionsAndOthersTakeTheRest) {
  Backend first(echo());
  Backend second(echo());
  discover({first.address(), second.address()});
  start_with(R"("max-connections-per-endpoint": 1)", {"--connect-timeout", "500ms"});
  TlsClient one = connect();
  EXPECT_TRUE(one.echo("a"));
  TlsClient two = connect();
  EXPECT_TRUE(two.echo("b"));
  EXPECT_EQ(first.open(), 1);
  EXPECT_EQ(second.open(), 1);
  expect_ended(as(client), "limit_reached", kAccessDenied);
  EXPECT_EQ(reached("max-connections-per-endpoint"), 1);
  expect_handshakes({{"success", 3}});  // it was over by then
  end(one, 1);
  EXPECT_TRUE(served());
}

}  // namespace
}  // namespace sallyport::test
