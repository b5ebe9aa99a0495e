// TLS to backends: serve() with real clients and real backends, without a process around it.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/gateway/connection/backend_tls_fixture.h"

namespace sallyport::gateway {
namespace {

using Presents = ktls::ClientContext::Presents;
using test::Backend;
using test::DiscoveryGroup;
using test::TlsBackendOptions;
using test::TlsClient;

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

// With "alpn": "forward".
class ForwardedProtocol : public BackendTlsTest {
 protected:
  ForwardedProtocol() { alpn_ = {"h2", "http/1.1"}; }
  void SetUp() override {
    BackendTlsTest::SetUp();
    rule_.forward_alpn = true;
  }
  Backend::Serve speaking(const std::string& protocol, bool needs = false) const {
    return test::over_tls({.certificate = certificate(), .alpn = protocol, .needs_alpn = needs},
                          test::echo_over_tls);
  }
  // The log's reason and detail for a client that offers these.
  std::string refusal_of(const Backend& backend, const std::vector<std::string>& offer) {
    serve_to(backend.address());
    serve_clients([&] {
      TlsClient client = connect({.alpn = offer});
      client.receive_all();
      EXPECT_EQ(client.alert(), 80);
    });
    const ConnectionFacts& facts = log_.records.at(0);
    return std::string(to_string(facts.reason)) + " " + facts.detail;
  }
};

TEST_F(ForwardedProtocol, IsTheOneThatWasConfirmed) {
  expect_served(speaking("h2"), {.alpn = {"http/1.1", "h2"}});
}

TEST_F(ForwardedProtocol, IsTheOneThatTheClientHasOfOurs) {
  expect_served(speaking("http/1.1"), {.alpn = {"http/1.1", "h3"}});
}

// The backend would choose http/1.1, if it were offered.
TEST_F(ForwardedProtocol, IsTheOnlyOneThatIsOffered) {
  const Backend backend(speaking("http/1.1"));
  const std::string said = refusal_of(backend, {"h2", "http/1.1"});
  EXPECT_EQ(said, "backend_tls_failed " + backend.address() + ": chose no ALPN protocol, not h2");
}

TEST_F(ForwardedProtocol, IsWhatABackendMayInsistOn) {
  expect_served(speaking("h2", true), {.alpn = {"h2"}});
}

TEST_F(ForwardedProtocol, IsRefusedByABackendThatInsistsOnAnother) {
  const Backend backend(speaking("h2", true));
  const std::string said = refusal_of(backend, {"http/1.1"});
  EXPECT_TRUE(said.starts_with("backend_tls_failed")) << said;
  EXPECT_NE(said.find("no application protocol"), std::string::npos) << said;
}

TEST_F(ForwardedProtocol, IsNoneForAClientThatOffersNone) {
  expect_served(speaking("h2"));
}

TEST_F(BackendTlsTest, SpeaksOfWhatItOffersItself) {
  rule_.alpn = {"http/1.1"};
  expect_served(
      test::over_tls({.certificate = certificate(), .alpn = "http/1.1"}, test::echo_over_tls));
}

}  // namespace
}  // namespace sallyport::gateway
