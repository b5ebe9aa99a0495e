// A service behind the gateway that speaks mutual TLS itself: the gateway proves who it is, and
// takes no other for it than the one that the policy and the discovery file name.
#include <openssl/ssl.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/scenario.h"
#include "tests/support/tls_backend.h"

namespace sallyport::test {
namespace {

constexpr char kOrdersOverTls[] = "spiffe://example.org/ns/shop/sa/orders";

constexpr char kBankIdentity[] = "spiffe://example.org/ns/shop/sa/bank";

class BackendTls : public Scenario {
 protected:
  // Wants a certificate of ours.
  Backend::Serve orders(const LeafSpec& spec = {.spiffe = {kOrdersOverTls}}) const {
    return over_tls({.certificate = root.issue(spec), .client_ca = root.cert_pem()}, echo_over_tls);
  }
  // `keys`: of the route, besides.
  std::string policy(const std::string& keys = "") const {
    return dir.write("policy.json", R"({"routes": {"orders": {
      "allow": ["spiffe://example.org/**"],
      "backend-tls": {"verify": ["spiffe://example.org/ns/shop/sa/orders"]})" +
                                        keys + "}}}");
  }
  void start_for(const std::vector<std::string>& targets, const std::string& keys = "") {
    discover(targets);
    start({"--policy", policy(keys)});
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

TEST_F(BackendTls, IsResumed) {
  const Backend backend(orders());
  start_for({backend.address()});
  // Each shard has sessions of its own.
  wait_until("a connection is resumed", [this] {
    EXPECT_TRUE(served());
    return gateway->metrics().sum("backend_tls_handshakes_total",
                                  {{"route", "orders"}, {"resumed", "true"}}) > 0;
  });
  EXPECT_EQ(gateway->wait_log({{"backend_resumed", "true"}}).at("backend_identity"),
            kOrdersOverTls);
}

TEST_F(BackendTls, WarnsWhereOurCertificateIsNoClients) {
  server = root.issue({.dns = {"orders.example.org"}, .eku = Eku::kServerAuth});
  const Backend backend(orders());
  start_for({backend.address()});
  gateway->wait_err({"lacks clientAuth"});
  TlsClient refused = connect();
  refused.receive_all();
  gateway->wait_log({{"reason", "backend_alert"}});
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

// A check takes no other for the endpoint than a client's connection does.
TEST_F(BackendTls, IsCheckedOverTheSameTls) {
  const Backend good(orders());
  const Backend other(orders({.spiffe = {"spiffe://example.org/ns/shop/sa/billing"}}));
  const Backend plain(echo());
  start_for({good.address(), other.address(), plain.address()}, R"(,
      "health": {"type": "send-expect", "interval": "100ms", "timeout": "30s", "send": "PING", "expect": "PING"})");
  gateway->wait_err({"endpoint is down", other.address(), "backend_not_verified: is spiffe://"});
  gateway->wait_err({"endpoint is down", plain.address(), "backend_tls_failed"});
  gateway->wait_metric("backend_healthy", {{"backend", good.address()}}, 1);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(served());
  EXPECT_EQ(gateway->metrics().sum("backend_failovers_total", {{"route", "orders"}}), 0);
}

/// Two services behind one route, with CAs of their own, one of which a change concerns.
class LiveBackends : public BackendTls {
 protected:
  void start_both() {
    write_policy("spiffe://example.org/ns/shop/sa/*");
    dir.write("services.pem", root.cert_pem() + bank_root.cert_pem());
    dir.write("services.crl", root.crl() + bank_root.crl());
    discover_both({});
    start({"--policy", dir / "policy.json", "--end-spread", "1s"});
  }
  void write_policy(const std::string& verify) {
    dir.replace("policy.json", R"({"trust": {"services": {"ca": ["services.pem"],
      "crl": ["services.crl"]}}, "routes": {"orders": {"allow": ["spiffe://example.org/**"],
      "backend-tls": {"trust": "services", "verify": [")" +
                                   verify + R"("]}}}})");
  }
  void discover_both(const std::string& id_of_concerned) {
    std::map<std::string, std::string> labels{{"route", "orders"}};
    if (!id_of_concerned.empty()) labels["tls_id"] = id_of_concerned;
    discover({{{other.address()}, {{"route", "orders"}}}, {{address_of_concerned}, labels}});
  }
  // The clients: the one whose service is concerned, and the other.
  std::pair<TlsClient, TlsClient> connect_both() {
    std::map<std::string, TlsClient> clients;
    while (clients.size() < 2) {
      TlsClient client = connect();
      const std::string name = client.receive(4);
      EXPECT_TRUE(name == "bank" || name == "shop");
      EXPECT_TRUE(client.echo("hello"));
      clients.try_emplace(name, std::move(client));
    }
    return {std::move(clients.at("bank")), std::move(clients.at("shop"))};
  }
  // As a client is told, and the log.
  void expect_told(TlsClient& of_concerned, const std::string& reason) const {
    of_concerned.receive_all();
    EXPECT_EQ(of_concerned.end(), TlsEnd::kTruncated);
    EXPECT_EQ(of_concerned.alert(), std::nullopt);
    const LogLine line = gateway->wait_log({{"reason", reason}});
    EXPECT_EQ(line.at("backend_identity"), kBankIdentity);
    EXPECT_EQ(line.at("identity"), kWeb);
  }
  static TlsServe says(const std::string& name) {
    return [name](SSL* ssl) {
      SSL_write(ssl, name.data(), static_cast<int>(name.size()));
      echo_over_tls(ssl);
    };
  }

  TestAuthority bank_root{"Bank Root"};
  TestCertificate bank = bank_root.issue({.spiffe = {kBankIdentity}});
  Backend concerned{over_tls({.certificate = bank}, says("bank"))};
  std::string address_of_concerned = concerned.address();
  Backend other{over_tls({.certificate = root.issue({.spiffe = {kOrdersOverTls}})}, says("shop"))};
};

TEST_F(LiveBackends, EndWhereAListRevokesThem) {
  start_both();
  auto [concerned_client, other_client] = connect_both();
  dir.replace("services.crl", root.crl() + bank_root.crl({bank.serial}));
  expect_told(concerned_client, "backend_revoked");
  EXPECT_TRUE(other_client.echo("still here"));
}

TEST_F(LiveBackends, EndWhereTheirAnchorIsGone) {
  start_both();
  auto [concerned_client, other_client] = connect_both();
  dir.replace("services.pem", root.cert_pem());
  dir.replace("services.crl", root.crl());
  expect_told(concerned_client, "backend_untrusted");
  EXPECT_TRUE(other_client.echo("still here"));
}

TEST_F(LiveBackends, EndWhereTheRuleIsAnother) {
  start_both();
  auto [concerned_client, other_client] = connect_both();
  write_policy(kOrdersOverTls);
  expect_told(concerned_client, "backend_not_verified");
  EXPECT_TRUE(other_client.echo("still here"));
}

TEST_F(LiveBackends, EndWhereTheDiscoveryFileNamesAnother) {
  start_both();
  auto [concerned_client, other_client] = connect_both();
  discover_both(kOrdersOverTls);
  expect_told(concerned_client, "backend_not_verified");
  EXPECT_TRUE(other_client.echo("still here"));
}

TEST_F(LiveBackends, EndBeforeTheirChainExpires) {
  start_both();
  // Its time begins when everything else is there.
  bank = bank_root.issue({.spiffe = {kBankIdentity},
                          .not_before = std::chrono::minutes(-60),
                          .not_after = std::chrono::seconds(8)});
  Backend short_lived(over_tls({.certificate = bank}, says("bank")));
  address_of_concerned = short_lived.address();
  const double reloaded = reloads("success");
  discover_both({});
  wait_reload("success", reloaded);
  auto [concerned_client, other_client] = connect_both();
  concerned_client.receive_all();
  EXPECT_EQ(concerned_client.end(), TlsEnd::kCloseNotify);
  gateway->wait_log({{"reason", "backend_expired"}});
  EXPECT_TRUE(other_client.echo("still here"));
}

}  // namespace
}  // namespace sallyport::test
