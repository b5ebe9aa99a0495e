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
  std::string policy() const {
    return dir.write("policy.json", R"({"routes": {"orders": {
      "allow": ["spiffe://example.org/**"],
      "backend-tls": {"verify": ["spiffe://example.org/ns/shop/sa/orders"]}}}})");
  }
  void start_for(const std::vector<std::string>& targets) {
    discover(targets);
    start({"--policy", policy()});
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

// The kernel's TLS is for TCP: with --records kernel the backend is none, and elsewhere it is
// userspace that makes its records.
TEST_F(BackendTls, IsMutualOverAUnixSocket) {
  const Backend backend(orders(), "unix:" + (dir / "orders.sock").string());
  discover({{{backend.address()}, {{"route", "orders"}, {"tls_id", kOrdersOverTls}}}});
  start({"--policy", policy()});
  if (wanted_records() != "kernel") {
    EXPECT_TRUE(served());
    EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("backend_identity"), kOrdersOverTls);
    return;
  }
  const std::string from = [this] {
    TlsClient tls = connect();
    EXPECT_EQ(tls.receive(1), "");
    return tls.local_address();
  }();
  const LogLine line = gateway->wait_log({{"client", from}});
  EXPECT_EQ(line.at("reason"), "internal_error");
  EXPECT_EQ(line.at("detail"), "kernel TLS: socket_unsuitable");
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

}  // namespace
}  // namespace sallyport::test
