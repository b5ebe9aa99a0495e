// Backends of other TLS libraries, each by a program of its own: who they are is judged, and said,
// the same whoever made their half of the handshake.
#include "tests/e2e/peers/tls_servers.h"

#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

constexpr char kOrdersOfLibrary[] = "spiffe://example.org/ns/shop/sa/orders";

class TlsServerOf : public PeerScenario, public ::testing::WithParamInterface<TlsLibrary> {
 protected:
  TlsServerSetup good() const { return with({.spiffe = {kOrdersOfLibrary}}); }
  // It wants a certificate of ours.
  TlsServerSetup with(const LeafSpec& spec) const {
    return {.certificate = root.issue(spec), .client_ca = root.cert_pem()};
  }
  // `more`: of "backend-tls", with a comma in front.
  void start_for(const TlsServer& server, const std::string& more = "",
                 const std::vector<std::string>& flags = {}) {
    discover({server.address()});
    std::vector<std::string> all{"--policy", dir.write("policy.json", R"({"routes": {"orders": {
      "allow": ["spiffe://example.org/**"], "ejection": false,
      "backend-tls": {"verify": [")" + std::string(kOrdersOfLibrary) + "\"]" +
                                                                          more + "}}}}")};
    all.insert(all.end(), flags.begin(), flags.end());
    start(all);
  }
  // One connection from its beginning to its end.
  ::testing::AssertionResult answered(const TlsServer& server) {
    TlsClient tls = connect();
    tls.send(server.request());
    std::string got;
    while (!got.ends_with(server.answer()) && tls.end() == TlsEnd::kOpen) got += tls.receive(1);
    tls.close_notify();
    tls.receive_all();
    if (got.ends_with(server.answer())) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << "answered " << got << ", end " << to_string(tls.end()) << "\n"
           << gateway->process().out() << server.process().out() << server.process().err();
  }
  void expect_served(const TlsServerSetup& setup, const std::string& more = "",
                     const std::vector<std::string>& flags = {}) {
    const TlsServer server(GetParam(), dir, setup);
    start_for(server, more, flags);
    EXPECT_TRUE(answered(server));
    const LogLine line = gateway->wait_log({{"reason", "done"}});
    EXPECT_EQ(line.at("backend_identity"), kOrdersOfLibrary);
    finish();
  }
  double resumed() const {
    return gateway->metrics().sum("backend_tls_handshakes_total",
                                  {{"result", "success"}, {"resumed", "true"}});
  }
  // A session may be made behind the end of the connection that it is of.
  void expect_resumed(const TlsServerSetup& setup, const std::string& more = "") {
    const TlsServer server(GetParam(), dir, setup);
    start_for(server, more);
    EXPECT_TRUE(eventually([&] {
      EXPECT_TRUE(answered(server));
      return resumed() > 0;
    }));
    const LogLine line = gateway->wait_log({{"backend_resumed", "true"}});
    EXPECT_EQ(line.at("backend_identity"), kOrdersOfLibrary);
    EXPECT_EQ(line.at("reason"), "done");
    finish();
  }
  void expect_backend_refused(const TlsServerSetup& setup, const std::string& reason,
                              const std::string& detail,
                              const std::vector<std::string>& flags = {}) {
    const TlsServer server(GetParam(), dir, setup);
    start_for(server, "", flags);
    expect_ended(as(client), reason, kInternalError);
    const LogLine line = gateway->wait_log({{"reason", reason}});
    EXPECT_NE(line.at("detail").find(detail), std::string::npos) << line.at("detail");
    EXPECT_EQ(gateway->metrics().sum("backend_tls_handshakes_total", {{"result", reason}}), 1);
    finish();
  }
};

INSTANTIATE_TEST_SUITE_P(Each, TlsServerOf,
                         ::testing::Values(TlsLibrary::kOpenssl, TlsLibrary::kGnutls,
                                           TlsLibrary::kNode, TlsLibrary::kGo, TlsLibrary::kJava),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(TlsServerOf, IsServedWithEachKindOfKey) {
  for (const KeyType type :
       {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
    SCOPED_TRACE(static_cast<int>(type));
    expect_served(with({.spiffe = {kOrdersOfLibrary}, .key_type = type}));
  }
}

TEST_P(TlsServerOf, IsServedAfterAHelloRetryRequest) {
  // Our only key share is for P-521; the server wants P-256, Go's by its own order.
  TlsServerSetup setup = good();
  setup.only_p256 = GetParam() != TlsLibrary::kGo;
  expect_served(setup, "", {"--groups", "P-521:P-256"});
}

TEST_P(TlsServerOf, IsServedWhereItAsksForNoCertificate) {
  TlsServerSetup setup = good();
  setup.client_ca.clear();
  expect_served(setup);
  expect_served(setup, R"(, "credentials": "none")");
}

TEST_P(TlsServerOf, IsResumed) {
  expect_resumed(good());
}

// A server of TLS 1.3 says so when the handshake is over for us.
TEST_P(TlsServerOf, EndsTheConnectionWhereWeHaveNoCertificateForIt) {
  const TlsServer server(GetParam(), dir, good());
  start_for(server, R"(, "credentials": "none")");
  {
    TlsClient tls = connect();
    EXPECT_EQ(tls.receive_all(), "");
    EXPECT_EQ(tls.end(), TlsEnd::kTruncated) << to_string(tls.end());
  }
  EXPECT_EQ(gateway->wait_logs(1)[0].at("reason"), "backend_alert");
}

TEST_P(TlsServerOf, IsRefusedForItsCertificate) {
  using std::chrono::hours;
  expect_backend_refused(with({.spiffe = {"spiffe://example.org/ns/shop/sa/billing"}}),
                         "backend_not_verified", "is spiffe://example.org/ns/shop/sa/billing");
  expect_backend_refused(
      with({.spiffe = {kOrdersOfLibrary}, .not_before = hours(-3), .not_after = hours(-1)}),
      "backend_expired", "expired");
  expect_backend_refused(with({.spiffe = {kOrdersOfLibrary}, .eku = Eku::kClientAuth}),
                         "backend_untrusted", "");
  TlsServerSetup strangers = good();
  strangers.certificate = TestAuthority("Other Root").issue({.spiffe = {kOrdersOfLibrary}});
  expect_backend_refused(strangers, "backend_untrusted", "");
  const TlsServerSetup revoked = good();
  expect_backend_refused(revoked, "backend_revoked", "revoked",
                         {"--crl", dir.write("crl.pem", root.crl({revoked.certificate.serial}))});
}

// etcd speaks 1.3 with all who do.
class Tls12ServerOf : public TlsServerOf {};
INSTANTIATE_TEST_SUITE_P(Each, Tls12ServerOf,
                         ::testing::Values(TlsLibrary::kOpenssl, TlsLibrary::kGnutls,
                                           TlsLibrary::kNode, TlsLibrary::kJava),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(Tls12ServerOf, IsServedOnlyWhereItsRouteAllowsIt) {
  TlsServerSetup old = good();
  old.tls12 = true;
  expect_served(old, R"(, "min-tls": "1.2")");
  expect_backend_refused(
      old, "backend_tls_failed",
      GetParam() == TlsLibrary::kGnutls ? "handshake failure" : "protocol version");
}

TEST_P(Tls12ServerOf, IsResumed) {
  TlsServerSetup old = good();
  old.tls12 = true;
  expect_resumed(old, R"(, "min-tls": "1.2")");
}

class ForgetfulServerOf : public TlsServerOf {};
INSTANTIATE_TEST_SUITE_P(Each, ForgetfulServerOf,
                         ::testing::Values(TlsLibrary::kOpenssl, TlsLibrary::kGnutls,
                                           TlsLibrary::kNode),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(ForgetfulServerOf, IsServedByAFullHandshakeEachTime) {
  TlsServerSetup setup = good();
  setup.resumes = false;
  const TlsServer server(GetParam(), dir, setup);
  start_for(server);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(answered(server));
  for (const LogLine& line : gateway->wait_logs(5)) EXPECT_EQ(line.at("reason"), "done");
  EXPECT_EQ(gateway->metrics().sum("backend_tls_handshakes_total", {{"result", "success"}}), 5);
  EXPECT_EQ(resumed(), 0);
}

}  // namespace
}  // namespace sallyport::test
