// A service behind the gateway that speaks mutual TLS itself: the gateway proves who it is, and
// takes no other for it than the one that the policy and the discovery file name.
#include <openssl/ssl.h>

#include "tests/e2e/scenario.h"
#include "tests/support/tls_backend.h"

namespace sallyport::test {
namespace {

constexpr char kOrdersOverTls[] = "spiffe://example.org/ns/shop/sa/orders";

class BackendTls : public Scenario {
 protected:
  // Wants a certificate of ours.
  Backend::Serve orders(const LeafSpec& spec = {.spiffe = {kOrdersOverTls}}) const {
    return over_tls({.certificate = root.issue(spec), .client_ca = root.cert_pem()}, echo_over_tls);
  }
  // `keys`: of the route, besides.
  void start_for(const std::vector<std::string>& targets, const std::string& keys = "") {
    discover(targets);
    start({"--policy", dir.write("policy.json", R"({"routes": {"orders": {
      "allow": ["spiffe://example.org/**"],
      "backend-tls": {"verify": ["spiffe://example.org/ns/shop/sa/orders"]})" +
                                                    keys + "}}}")});
  }
};

TEST_F(BackendTls, IsMutualOnBothLegs) {
  const Backend backend(orders());
  start_for({backend.address()});
  EXPECT_TRUE(served());
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(line.at("backend_identity"), kOrdersOverTls);
  EXPECT_EQ(line.at("backend_resumed"), "false");
  EXPECT_EQ(gateway->metrics().sum("backend_tls_handshakes_total",
                                   {{"route", "orders"}, {"result", "success"}}),
            1);
}

TEST_F(BackendTls, GoesToTheRightOneOfTwo) {
  const Backend other(orders({.spiffe = {"spiffe://example.org/ns/shop/sa/billing"}}));
  const Backend good(orders());
  start_for({other.address(), good.address()});
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(served());
  EXPECT_GE(gateway->metrics().sum("backend_failovers_total", {{"route", "orders"}}), 1);
}

TEST_F(BackendTls, IsRefusedForAnotherThanTheOneThatIsAskedFor) {
  const Backend other(orders({.spiffe = {"spiffe://example.org/ns/shop/sa/billing"}}));
  start_for({other.address()});
  expect_ended(as(client), "backend_not_verified", kInternalError);
}

TEST_F(BackendTls, IsRefusedForABackendThatSpeaksPlaintext) {
  const Backend plain(named("220 ready\r\n"));
  start_for({plain.address()});
  expect_ended(as(client), "backend_tls_failed", kInternalError);
}

// A check takes no other for the endpoint than a client's connection does.
TEST_F(BackendTls, IsCheckedOverTheSameTls) {
  const Backend good(orders());
  const Backend other(orders({.spiffe = {"spiffe://example.org/ns/shop/sa/billing"}}));
  const Backend plain(echo());
  start_for({good.address(), other.address(), plain.address()}, R"(,
      "health": {"type": "send-expect", "interval": "100ms", "send": "PING", "expect": "PING"})");
  gateway->wait_err({"endpoint is down", other.address(), "backend_not_verified: is spiffe://"});
  gateway->wait_err({"endpoint is down", plain.address(), "backend_tls_failed"});
  gateway->wait_metric("backend_healthy", {{"backend", good.address()}}, 1);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(served());
  EXPECT_EQ(gateway->metrics().sum("backend_failovers_total", {{"route", "orders"}}), 0);
}

}  // namespace
}  // namespace sallyport::test
