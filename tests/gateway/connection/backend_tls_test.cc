// TLS to backends: serve() with real clients and real backends, without a process around it.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/gateway/connection/serve_fixture.h"
#include "tests/support/gateway.h"
#include "tests/support/tls_backend.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using Presents = ktls::ClientContext::Presents;
using test::Backend;
using test::DiscoveryGroup;
using test::TlsBackendOptions;
using test::TlsClient;

constexpr char kOrders[] = "spiffe://example.org/orders";

BackendTls verifies(const std::string& pattern) {
  BackendTls rule;
  rule.verify = {IdentityPattern::parse(pattern).value()};
  return rule;
}

class BackendTlsTest : public ServeTest {
 protected:
  BackendTlsTest() : ServeTest(HandshakeLimits().memory) {}
  void SetUp() override {
    if (test::wanted_records() == "kernel") {
      SALLYPORT_NEEDS_KTLS();
      with_kernel_records();
    }
    ServeTest::SetUp();
    timeouts_.connect = std::chrono::minutes(5);  // a guest may be slow
    rule_ = verifies(kOrders);
  }

  // The groups are all of the route orders.
  void serve_to(std::vector<DiscoveryGroup> groups) {
    for (DiscoveryGroup& each : groups) each.labels["route"] = "orders";
    Snapshot snapshot;
    snapshot.credentials = pki_.load().value();
    Route orders = route("orders");
    orders.alpn = alpn_;
    orders.takes_no_offer = true;
    orders.backend_tls = rule_;
    orders.endpoint_rules.ejection.reset();
    snapshot.policy = *Policy::build({std::move(orders)});
    snapshot.endpoints =
        EndpointSet::build(*parse_discovery(test::discovery_json(groups), "groups"), {}, nullptr);
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
    state_.backend_tls = std::make_shared<const std::vector<std::shared_ptr<ktls::ClientContext>>>(
        1, pki_.client_context(presents_));
  }
  void serve_to(const std::string& target) { serve_to(std::vector{DiscoveryGroup{{target}, {}}}); }

  test::TestCertificate certificate(const test::LeafSpec& spec = {.spiffe = {kOrders}}) const {
    return pki_.authority.issue(spec);
  }
  Backend::Serve echo(const test::LeafSpec& spec = {.spiffe = {kOrders}}) const {
    return test::over_tls({.certificate = certificate(spec)}, test::echo_over_tls);
  }
  // One client that is to be refused.
  const ConnectionFacts& refused_by(const Backend::Serve& serve) {
    const Backend backend(serve);
    serve_to(backend.address());
    serve_clients([this] {
      TlsClient client = connect();
      client.receive_all();
      EXPECT_EQ(client.alert(), 80);
    });
    return log_.records.at(0);
  }
  void expect_served(const Backend::Serve& serve, const test::ClientOptions& options = {}) {
    const Backend backend(serve);
    serve_to(backend.address());
    serve_clients([&] {
      TlsClient client = connect(options);
      EXPECT_TRUE(client.echo("hello"));
      client.close_notify();
      client.receive_all();
      EXPECT_EQ(client.end(), test::TlsEnd::kCloseNotify);
    });
    EXPECT_EQ(to_string(log_.records.at(0).reason), "done") << log_.records.at(0).detail;
  }

  BackendTls rule_;
  std::vector<std::string> alpn_;
  Presents presents_ = Presents::kNothing;
};

TEST_F(BackendTlsTest, RelaysToTheOneThatTheRouteAsksFor) {
  expect_served(echo());
  EXPECT_EQ(log_.records[0].backend_identity, kOrders);
  EXPECT_EQ(log_.records[0].backend_resumed, false);
  const std::string scrape = registry_.scrape();
  EXPECT_NE(
      scrape.find("sallyport_backend_tls_handshakes_total{route=\"orders\",result=\"success\","
                  "resumed=\"false\"} 1"),
      std::string::npos);
}

TEST_F(BackendTlsTest, SpeaksVersion12WhereTheRouteAllowsIt) {
  const TlsBackendOptions old{.certificate = certificate(), .max_version = TLS1_2_VERSION};
  rule_.min_version = ktls::RecordVersion::kTls12;
  expect_served(test::over_tls(old, test::echo_over_tls));
}

TEST_F(BackendTlsTest, PresentsOurCertificate) {
  presents_ = Presents::kCertificates;
  expect_served(test::over_tls(
      {.certificate = certificate(), .client_ca = pki_.authority.cert_pem()}, test::echo_over_tls));
}

// A server of TLS 1.3 says so when the handshake is over for us.
TEST_F(BackendTlsTest, EndsWithTheAlertOfABackendThatWantsACertificate) {
  const Backend backend(test::over_tls(
      {.certificate = certificate(), .client_ca = pki_.authority.cert_pem()}, test::echo_over_tls));
  serve_to(backend.address());
  serve_clients([this] {
    TlsClient client = connect();
    client.receive_all();
    EXPECT_EQ(client.end(), test::TlsEnd::kTruncated);
  });
  EXPECT_EQ(to_string(log_.records.at(0).reason), "backend_alert");
}

TEST_F(BackendTlsTest, NeverMakesACleanEndOfATruncation) {
  const Backend backend(test::over_tls({.certificate = certificate()}, [](SSL* ssl) {
    char request{};
    EXPECT_EQ(SSL_read(ssl, &request, 1), 1);
    EXPECT_EQ(SSL_write(ssl, "half", 4), 4);
  }));
  serve_to(backend.address());
  serve_clients([this] {
    TlsClient client = connect();
    client.send("x");
    EXPECT_EQ(client.receive_all(), "half");
    EXPECT_EQ(client.end(), test::TlsEnd::kTruncated);
  });
  EXPECT_EQ(to_string(log_.records.at(0).reason), "backend_truncated");
}

struct RefusedBackend {
  const char* name;
  test::LeafSpec spec;
  const char* reason;
  const char* detail;
};
void PrintTo(const RefusedBackend& each, std::ostream* out) {
  *out << each.name;
}
const RefusedBackend kRefused[] = {
    {"OtherIdentity",
     {.spiffe = {"spiffe://example.org/billing"}},
     "backend_not_verified",
     "is spiffe://example.org/billing, none of spiffe://example.org/orders"},
    {"NoName", {}, "backend_not_verified", "is -"},
    {"Expired",
     {.spiffe = {kOrders}, .not_after = std::chrono::seconds(-60)},
     "backend_expired",
     "expired"},
    {"NotYetValid",
     {.spiffe = {kOrders}, .not_before = std::chrono::hours(1)},
     "backend_untrusted",
     "not yet"},
    {"OnlyForClients",
     {.spiffe = {kOrders}, .eku = test::Eku::kClientAuth},
     "backend_untrusted",
     ""},
};

class BackendCertificate : public BackendTlsTest,
                           public ::testing::WithParamInterface<RefusedBackend> {};

TEST_P(BackendCertificate, IsRefusedWithItsReason) {
  const ConnectionFacts& facts = refused_by(echo(GetParam().spec));
  EXPECT_EQ(to_string(facts.reason), GetParam().reason);
  EXPECT_NE(facts.detail.find(GetParam().detail), std::string::npos) << facts.detail;
  EXPECT_EQ(facts.identity, "dns:known.test");
  EXPECT_EQ(facts.presented->dns, std::vector<std::string>{"dns:known.test"}) << "the client's";
}

INSTANTIATE_TEST_SUITE_P(Each, BackendCertificate, ::testing::ValuesIn(kRefused),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(BackendTlsTest, RefusesACertificateOfAnotherAuthority) {
  const test::TestAuthority other("Other Root");
  const auto& facts = refused_by(
      test::over_tls({.certificate = other.issue({.spiffe = {kOrders}})}, test::echo_over_tls));
  EXPECT_EQ(to_string(facts.reason), "backend_untrusted");
}

TEST_F(BackendTlsTest, RefusesARevokedCertificate) {
  const auto revoked = certificate();
  pki_.files.crls.push_back(pki_.dir.write("crl.pem", pki_.authority.crl({revoked.serial})));
  const auto& facts = refused_by(test::over_tls({.certificate = revoked}, test::echo_over_tls));
  EXPECT_EQ(to_string(facts.reason), "backend_revoked");
}

TEST_F(BackendTlsTest, RefusesVersion12WhereTheRouteDoesNotAllowIt) {
  const auto& facts = refused_by(test::over_tls(
      {.certificate = certificate(), .max_version = TLS1_2_VERSION}, test::echo_over_tls));
  EXPECT_EQ(to_string(facts.reason), "backend_tls_failed") << facts.detail;
}

TEST_F(BackendTlsTest, RefusesABackendThatSpeaksPlaintext) {
  const auto& facts = refused_by([](test::Fd& socket) {
    std::string hello;
    test::receive(socket, hello, 1);
    test::send_all(socket, "HTTP/1.1 400 Bad Request\r\n\r\n");
    test::receive_all(socket, hello);
  });
  EXPECT_EQ(to_string(facts.reason), "backend_tls_failed") << facts.detail;
}

TEST_F(BackendTlsTest, RefusesABackendThatSpeaksFirst) {
  const auto& facts = refused_by([](test::Fd& socket) {
    test::send_all(socket, "220 ready\r\n");
    std::string all;
    test::receive_all(socket, all);
  });
  EXPECT_EQ(to_string(facts.reason), "backend_tls_failed") << facts.detail;
}

TEST_F(BackendTlsTest, RefusesABackendThatLeavesInTheMiddle) {
  const auto& facts = refused_by([](test::Fd& socket) {
    std::string hello;
    test::receive(socket, hello, 1);
  });
  EXPECT_EQ(to_string(facts.reason), "backend_tls_failed");
  EXPECT_NE(facts.detail.find("ended the TLS handshake"), std::string::npos) << facts.detail;
}

TEST_F(BackendTlsTest, GivesASilentBackendTheTimeOfAConnect) {
  timeouts_.connect = std::chrono::milliseconds(100);
  EXPECT_EQ(to_string(refused_by(test::stall()).reason), "backend_timeout");
}

TEST_F(BackendTlsTest, TriesTheNextEndpointWhereOneIsAnother) {
  const Backend other(echo({.spiffe = {"spiffe://example.org/billing"}}));
  const Backend good(echo());
  serve_to(std::vector{DiscoveryGroup{{other.address(), good.address()}, {}}});
  serve_clients([this] {
    for (int i = 0; i < 4; ++i) {
      TlsClient client = connect();
      EXPECT_TRUE(client.echo("hello"));
      client.close_notify();
      client.receive_all();
    }
  });
  EXPECT_EQ(reasons(), (std::set<std::string>{"done"}));
  EXPECT_GT(other.accepted(), 0);
  for (const ConnectionFacts& each : log_.records) EXPECT_EQ(each.backend, good.address());
}

// The pattern would take it: its address was another workload's before.
TEST_F(BackendTlsTest, TakesNoOtherThanTheIdOfTheEndpoint) {
  rule_ = verifies("spiffe://example.org/*");
  const Backend recycled(echo({.spiffe = {"spiffe://example.org/billing"}}));
  serve_to({DiscoveryGroup{{recycled.address()}, {{"tls_id", kOrders}}}});
  serve_clients([this] { connect().receive_all(); });
  EXPECT_EQ(to_string(log_.records.at(0).reason), "backend_not_verified");
}

TEST_F(BackendTlsTest, ForwardsTheProtocolOfTheClient) {
  alpn_ = {"h2"};
  rule_.forward_alpn = true;
  expect_served(test::over_tls({.certificate = certificate(), .alpn = "h2"}, test::echo_over_tls),
                {.alpn = {"h2", "http/1.1"}});
}

TEST_F(BackendTlsTest, RefusesABackendThatDoesNotSpeakTheProtocolOfTheClient) {
  alpn_ = {"h2"};
  rule_.forward_alpn = true;
  const Backend backend(echo());  // chooses none
  serve_to(backend.address());
  serve_clients([this] { connect({.alpn = {"h2"}}).receive_all(); });
  EXPECT_EQ(to_string(log_.records.at(0).reason), "backend_tls_failed");
  EXPECT_NE(log_.records[0].detail.find("chose no ALPN protocol, not h2"), std::string::npos);
}

TEST_F(BackendTlsTest, SpeaksOfWhatItOffersItself) {
  rule_.alpn = {"http/1.1"};
  expect_served(
      test::over_tls({.certificate = certificate(), .alpn = "http/1.1"}, test::echo_over_tls));
}

}  // namespace
}  // namespace sallyport::gateway
