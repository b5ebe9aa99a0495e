// SNI and ALPN choose the route, in the manual's order, before a certificate is asked for.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Routing : public Scenario {
 protected:
  Backend orders{named("orders ")};
  Backend orders_h2{named("h2 ")};
  Backend wild{named("wild ")};
  Backend rest{named("rest ")};

  void start_with_policy(const std::string& policy) {
    discover({{{orders.address()}, {{"route", "orders"}}},
              {{orders_h2.address()}, {{"route", "orders-h2"}}},
              {{wild.address()}, {{"route", "wild"}}},
              {{rest.address()}, {{"route", "rest"}}}});
    start({"--policy", dir.write("policy.json", policy)});
  }

  ClientOptions asking(const std::string& sni, std::vector<std::string> alpn = {}) const {
    ClientOptions options = as(client);
    options.sni = sni;
    options.alpn = std::move(alpn);
    return options;
  }

  /// The name that the backend behind the chosen route says.
  std::string reached(ClientOptions options) const {
    TlsClient tls = connect(std::move(options));
    const std::string name = tls.receive(3);
    tls.close_notify();
    return name + tls.receive_all();
  }
};

constexpr char kPolicy[] = R"({"routes": {
  "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/**"]},
  "orders-h2": {"sni": ["orders.example.org"], "alpn": ["h2", "grpc"],
                "allow": ["spiffe://example.org/**"]},
  "wild": {"sni": ["*.example.org"], "alpn": ["h2"], "allow": ["spiffe://example.org/**"]},
  "rest": {"allow": ["spiffe://example.org/**"]}}})";

// Clients of gRPC since grpc-go 1.67 and of PostgreSQL 17 hang up where no protocol is chosen.
TEST_F(Routing, ChoosesTheProtocolsOfTheFlagWithoutAPolicyFile) {
  discover({orders.address()});
  start({"--alpn", "h2:postgresql"});
  for (const std::string protocol : {"h2", "postgresql"}) {
    TlsClient tls = connect(asking("orders.example.org", {"smtp", protocol}));
    EXPECT_EQ(tls.selected_alpn(), protocol);
  }
  EXPECT_EQ(reached(asking("orders.example.org")), "orders ");
  expect_refused(asking("orders.example.org", {"smtp"}), "no_application_protocol",
                 kNoApplicationProtocol);
}

TEST_F(Routing, RefusesEveryProtocolWhereNoneIsSpoken) {
  discover({orders.address()});
  start({"--alpn", "none"});
  EXPECT_EQ(reached(asking("orders.example.org")), "orders ");
  expect_refused(asking("orders.example.org", {"h2"}), "no_application_protocol",
                 kNoApplicationProtocol);
}

TEST_F(Routing, TakesExactBeforeWildcardBeforeTheRest) {
  start_with_policy(kPolicy);
  EXPECT_EQ(reached(asking("orders.example.org")), "orders ");
  EXPECT_EQ(reached(asking("ORDERS.Example.org.")), "orders ");
  EXPECT_EQ(reached(asking("else.example.org", {"h2"})), "wild ");
  EXPECT_EQ(reached(asking("a.b.example.org")), "rest ");
  EXPECT_EQ(reached(asking("")), "rest ");
}

TEST_F(Routing, TakesTheAlpnRouteWhenAProtocolIsSharedInOurOrder) {
  start_with_policy(kPolicy);
  EXPECT_EQ(reached(asking("orders.example.org", {"grpc", "h2"})), "h2 ");
  EXPECT_EQ(gateway->wait_log({{"route", "orders-h2"}}).at("alpn"), "h2");
  TlsClient tls = connect(asking("orders.example.org", {"grpc"}));
  EXPECT_EQ(tls.selected_alpn(), "grpc");
  EXPECT_EQ(reached(asking("orders.example.org", {"http/1.1"})), "orders ");
}

TEST_F(Routing, RefusesWhenOnlyAlpnRoutesFitAndNoneIsShared) {
  start_with_policy(kPolicy);
  expect_refused(asking("else.example.org", {"http/1.1"}), "no_application_protocol",
                 kNoApplicationProtocol);
}

TEST_F(Routing, SkipsAlpnRoutesForAClientThatOffersNone) {
  start_with_policy(R"({"routes": {
    "orders-h2": {"sni": ["orders.example.org"], "alpn": ["h2"],
                  "allow": ["spiffe://example.org/**"]},
    "rest": {"sni": ["rest.example.org"], "allow": ["spiffe://example.org/**"]}}})");
  TlsClient tls = connect(asking("orders.example.org"));
  tls.receive(1);
  EXPECT_EQ(tls.end(), TlsEnd::kAlert);
  EXPECT_EQ(orders_h2.accepted(), 0);
}

TEST_F(Routing, RefusesAnUnknownNameBeforeACertificateIsAskedFor) {
  start_with_policy(R"({"routes": {
    "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/**"]}}})");
  // A client without a certificate hears of the name, not of its certificate.
  ClientOptions anonymous = asking("unknown.example.org");
  anonymous.certificate.reset();
  expect_refused(anonymous, "no_route", kUnrecognizedName);
  expect_refused(asking(""), "no_route", kUnrecognizedName);
  EXPECT_EQ(gateway->wait_log({{"reason", "no_route"}}).at("sni"), "unknown.example.org");
}

TEST_F(Routing, TreatsAnAddressAsNoName) {
  start_with_policy(kPolicy);
  EXPECT_EQ(reached(asking("127.0.0.1")), "rest ");
}

TEST_F(Routing, AllowsPerRoute) {
  start_with_policy(R"({"routes": {
    "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/ns/shop/sa/web"]},
    "rest": {"allow": ["spiffe://example.org/ns/*/sa/batch", "dns:batch.example.org"]}}})");
  const TestCertificate batch = root.issue({.spiffe = {"spiffe://example.org/ns/shop/sa/batch"}});
  const TestCertificate by_dns = root.issue({.dns = {"batch.example.org"}});
  EXPECT_EQ(reached(asking("orders.example.org")), "orders ");
  expect_refused(asking("x.example.org"), "not_authorized", kAccessDenied);
  ClientOptions options = asking("x.example.org");
  options.certificate = batch;
  EXPECT_EQ(reached(options), "rest ");
  options.certificate = by_dns;
  EXPECT_EQ(reached(options), "rest ");
  options.sni = "orders.example.org";
  expect_refused(options, "not_authorized", kAccessDenied);
}

TEST_F(Routing, WithoutAPolicySingleLabelTakesAnyName) {
  start_for(orders);
  EXPECT_EQ(reached(asking("whatever.test")), "orders ");
  EXPECT_EQ(reached(asking("")), "orders ");
}

TEST_F(Routing, WithoutAPolicySeveralLabelsTakeTheirOwnNames) {
  discover({{{orders.address()}, {{"route", "orders.example.org"}}},
            {{wild.address()}, {{"route", "billing.example.org"}}}});
  start();
  EXPECT_EQ(reached(asking("orders.example.org")), "orders ");
  EXPECT_EQ(reached(asking("billing.example.org")), "wild ");
  expect_refused(asking("other.example.org"), "no_route", kUnrecognizedName);
}

TEST_F(Routing, AnswersNoEndpointForARouteThatOnlyThePolicyKnows) {
  discover({orders.address()});
  start({"--policy", dir.write("policy.json", R"({"routes": {
    "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/**"]},
    "ghost": {"sni": ["ghost.example.org"], "allow": ["spiffe://example.org/**"]}}})")});
  EXPECT_EQ(reached(asking("orders.example.org")), "orders ");
  expect_ended(asking("ghost.example.org"), "no_endpoint", kInternalError);
}

TEST_F(Routing, WarnsOfARouteThatOnlyDiscoveryKnows) {
  discover({{{orders.address()}, {{"route", "orders"}}},
            {{wild.address()}, {{"route", "unreachable-route"}}}});
  start({"--policy", dir.write("policy.json", R"({"routes": {
    "orders": {"allow": ["spiffe://example.org/**"]}}})")});
  gateway->wait_err({"warning", "unreachable-route"});
}

}  // namespace
}  // namespace sallyport::test
