// Backends of other TLS libraries, each by a program of its own: who they are is judged, and said,
// the same whoever made their half of the handshake.
#include "tests/e2e/peers/tls_servers.h"

#include <algorithm>

#include "tests/e2e/peers/middleman.h"
#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

constexpr char kOrdersOfLibrary[] = "spiffe://example.org/ns/shop/sa/orders";
const std::string kOldRoute = R"(, "min-tls": "1.2")";

// What a ServerHello has for a random number where it asks for another ClientHello, RFC 8446 4.1.3.
constexpr std::string_view kRetryRandom =
    "\xCF\x21\xAD\x74\xE5\x9A\x61\x11\xBE\x1D\x8C\x02\x1E\x65\xB8\x91"
    "\xC2\xA2\x11\x16\x7A\xBB\x8C\x5E\x07\x9E\x09\xE2\xC8\xA8\x33\x9C";

class TlsServerOf : public PeerScenario, public ::testing::WithParamInterface<TlsLibrary> {
 protected:
  TlsServerSetup good() const { return with({.spiffe = {kOrdersOfLibrary}}); }
  // It wants a certificate of ours.
  TlsServerSetup with(const LeafSpec& spec) const {
    return {.certificate = root.issue(spec), .client_ca = root.cert_pem()};
  }
  TlsServerSetup with(KeyType type) const {
    return with({.spiffe = {kOrdersOfLibrary}, .key_type = type});
  }
  // `more`: of "backend-tls", with a comma in front.
  void start_for(const std::string& address, const std::string& more = "",
                 const std::vector<std::string>& flags = {}) {
    discover({address});
    std::vector<std::string> all{"--policy", dir.write("policy.json", R"({"routes": {"orders": {
      "allow": ["spiffe://example.org/**"], "ejection": false,
      "backend-tls": {"verify": [")" + std::string(kOrdersOfLibrary) + "\"]" +
                                                                          more + "}}}}")};
    // Java takes seconds for its first handshake, on a loaded machine.
    if (std::ranges::count(flags, "--connect-timeout") == 0)
      all.insert(all.end(), {"--connect-timeout", "5m"});
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
  void expect_served(const TlsServerSetup& setup, const std::string& more = "") {
    const TlsServer server(GetParam(), dir, setup);
    start_for(server.address(), more);
    EXPECT_TRUE(answered(server));
    const LogLine line = gateway->wait_log({{"reason", "done"}});
    EXPECT_EQ(line.at("backend_identity"), kOrdersOfLibrary);
    finish();
  }
  double resumed() const {
    return gateway->metrics().sum("backend_tls_handshakes_total",
                                  {{"result", "success"}, {"resumed", "true"}});
  }
  // By a full handshake first, and then by the session of one. A session may be made behind the end
  // of the connection that it is of.
  void expect_resumed_by(const TlsServer& server) {
    EXPECT_TRUE(eventually([&] {
      EXPECT_TRUE(answered(server));
      return HasFailure() || resumed() > 0;
    }));
    for (const char* resumed : {"false", "true"}) {
      const LogLine line = gateway->wait_log({{"backend_resumed", resumed}});
      EXPECT_EQ(line.at("backend_identity"), kOrdersOfLibrary);
      EXPECT_EQ(line.at("reason"), "done");
    }
    finish();
  }
  void expect_resumed(const TlsServerSetup& setup, const std::string& more = "") {
    const TlsServer server(GetParam(), dir, setup);
    start_for(server.address(), more);
    expect_resumed_by(server);
  }
  void expect_resumed_with_each_kind_of_key(bool tls12, const std::string& more = "") {
    for (const KeyType type :
         {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
      SCOPED_TRACE(static_cast<int>(type));
      TlsServerSetup setup = with(type);
      setup.tls12 = tls12;
      expect_resumed(setup, more);
    }
  }
  // The log's line of a connection whose backend is at fault.
  LogLine refused(const std::string& reason) {
    expect_ended(as(client), reason, kInternalError);
    return gateway->wait_log({{"reason", reason}});
  }
  void expect_backend_refused(const TlsServerSetup& setup, const std::string& reason,
                              const std::string& detail, const std::string& more = "",
                              const std::vector<std::string>& flags = {}) {
    const TlsServer server(GetParam(), dir, setup);
    start_for(server.address(), more, flags);
    const LogLine line = refused(reason);
    EXPECT_NE(line.at("detail").find(detail), std::string::npos) << line.at("detail");
    EXPECT_EQ(gateway->metrics().sum("backend_tls_handshakes_total", {{"result", reason}}), 1);
    finish();
  }
  void expect_refused_for_its_certificate(bool tls12, const std::string& more = "") {
    using std::chrono::hours;
    const auto expect = [&](TlsServerSetup setup, const std::string& reason,
                            const std::string& detail, const std::vector<std::string>& flags = {}) {
      SCOPED_TRACE(reason);
      setup.tls12 = tls12;
      expect_backend_refused(setup, reason, detail, more, flags);
    };
    expect(with({.spiffe = {"spiffe://example.org/ns/shop/sa/billing"}}), "backend_not_verified",
           "is spiffe://example.org/ns/shop/sa/billing");
    expect(with({.spiffe = {kOrdersOfLibrary}, .not_before = hours(-3), .not_after = hours(-1)}),
           "backend_expired", "expired");
    expect(with({.spiffe = {kOrdersOfLibrary}, .eku = Eku::kClientAuth}), "backend_untrusted", "");
    TlsServerSetup strangers = good();
    strangers.certificate = TestAuthority("Other Root").issue({.spiffe = {kOrdersOfLibrary}});
    expect(strangers, "backend_untrusted", "");
    const TlsServerSetup revoked = good();
    expect(revoked, "backend_revoked", "revoked",
           {"--crl", dir.write("crl.pem", root.crl({revoked.certificate.serial}))});
  }
  // Nothing of the server's comes to the client, and that is no clean end.
  LogLine ended_by_it(const TlsServerSetup& setup, const std::string& more) {
    const TlsServer server(GetParam(), dir, setup);
    start_for(server.address(), more);
    {
      TlsClient tls = connect();
      EXPECT_EQ(tls.receive_all(), "");
      EXPECT_NE(tls.end(), TlsEnd::kCloseNotify);
    }
    LogLine line = gateway->wait_logs(1)[0];
    finish();
    return line;
  }
};

INSTANTIATE_TEST_SUITE_P(Each, TlsServerOf,
                         ::testing::Values(TlsLibrary::kOpenssl, TlsLibrary::kGnutls,
                                           TlsLibrary::kNode, TlsLibrary::kGo, TlsLibrary::kJava),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(TlsServerOf, IsServedAndResumedWithEachKindOfKey) {
  expect_resumed_with_each_kind_of_key(false);
}

// Our only key share is for X448; the servers want P-256, and Go knows no X448.
TEST_P(TlsServerOf, IsServedAndResumedAfterAHelloRetryRequest) {
  TlsServerSetup setup = good();
  setup.only_p256 = GetParam() != TlsLibrary::kGo;
  const TlsServer server(GetParam(), dir, setup);
  const Middleman middleman(server.address());
  start_for(middleman.address(), "", {"--groups", "X448:P-256"});
  EXPECT_TRUE(answered(server));
  EXPECT_TRUE(middleman.said().contains(kRetryRandom));
  expect_resumed_by(server);
}

TEST_P(TlsServerOf, IsServedWhereItAsksForNoCertificate) {
  TlsServerSetup setup = good();
  setup.client_ca.clear();
  expect_served(setup);
  expect_served(setup, R"(, "credentials": "none")");
}

// A server of TLS 1.3 says so when the handshake is over for us.
TEST_P(TlsServerOf, EndsTheConnectionWhereWeHaveNoCertificateForIt) {
  EXPECT_EQ(ended_by_it(good(), R"(, "credentials": "none")").at("reason"), "backend_alert");
}

// Node's server does not say why it ends a connection for that.
TEST_P(TlsServerOf, EndsTheConnectionWhereOurAuthorityIsUnknownToIt) {
  TlsServerSetup setup = good();
  setup.client_ca = TestAuthority("Other Root").cert_pem();
  const LogLine line = ended_by_it(setup, "");
  if (GetParam() == TlsLibrary::kNode) {
    EXPECT_TRUE(line.at("reason") == "backend_truncated" || line.at("reason") == "backend_reset")
        << line.at("reason");
  } else {
    EXPECT_EQ(line.at("reason"), "backend_alert");
  }
}

TEST_P(TlsServerOf, IsRefusedForItsCertificate) {
  expect_refused_for_its_certificate(false);
}

TEST_P(TlsServerOf, IsServedThoughItsBytesComeOneByOne) {
  const TlsServer server(GetParam(), dir, good());
  const Middleman slow(server.address(), {.piece = 1});
  start_for(slow.address());
  EXPECT_TRUE(answered(server));
  EXPECT_EQ(gateway->wait_logs(1)[0].at("reason"), "done");
}

// In the middle of what it answers our ClientHello.
constexpr std::size_t kPartOfAFlight = 300;

TEST_P(TlsServerOf, IsWaitedForWhereItStopsHalfWay) {
  const TlsServer server(GetParam(), dir, good());
  const Middleman silent(server.address(), {.most = kPartOfAFlight});
  start_for(silent.address(), "", {"--connect-timeout", "1s"});
  refused("backend_timeout");
  EXPECT_EQ(silent.said().size(), kPartOfAFlight);
}

TEST_P(TlsServerOf, IsRefusedWhereItEndsHalfWay) {
  const TlsServer server(GetParam(), dir, good());
  const Middleman cut(server.address(), {.most = kPartOfAFlight, .ends = true});
  start_for(cut.address());
  EXPECT_NE(refused("backend_tls_failed").at("detail").find("ended the TLS handshake"),
            std::string::npos);
}

// Its kernel accepts, and then nothing comes.
TEST_P(TlsServerOf, IsWaitedForWhereItIsSilent) {
  TlsServer server(GetParam(), dir, good());
  start_for(server.address(), "", {"--connect-timeout", "5s"});
  server.suspend();
  refused("backend_timeout");
  server.resume();
  EXPECT_TRUE(eventually([&] { return bool{answered(server)}; }));
}

// etcd insists on a certificate where it asks for one.
class LenientServerOf : public TlsServerOf {};
INSTANTIATE_TEST_SUITE_P(Each, LenientServerOf,
                         ::testing::Values(TlsLibrary::kOpenssl, TlsLibrary::kGnutls,
                                           TlsLibrary::kNode, TlsLibrary::kJava),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(LenientServerOf, IsServedWithACertificateOfOursAndWithout) {
  TlsServerSetup setup = good();
  setup.insists = false;
  expect_resumed(setup);
  expect_resumed(setup, R"(, "credentials": "none")");
}

// etcd speaks 1.3 with all who do.
class Tls12ServerOf : public TlsServerOf {};
INSTANTIATE_TEST_SUITE_P(Each, Tls12ServerOf,
                         ::testing::Values(TlsLibrary::kOpenssl, TlsLibrary::kGnutls,
                                           TlsLibrary::kNode, TlsLibrary::kJava),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(Tls12ServerOf, IsRefusedWhereItsRouteDoesNotAllowIt) {
  TlsServerSetup old = good();
  old.tls12 = true;
  expect_backend_refused(
      old, "backend_tls_failed",
      GetParam() == TlsLibrary::kGnutls ? "handshake failure" : "protocol version");
}

TEST_P(Tls12ServerOf, IsServedAndResumedWithEachKindOfKey) {
  expect_resumed_with_each_kind_of_key(true, kOldRoute);
}

TEST_P(Tls12ServerOf, IsRefusedForItsCertificate) {
  expect_refused_for_its_certificate(true, kOldRoute);
}

// It says so within the handshake.
TEST_P(Tls12ServerOf, RefusesUsWhereWeHaveNoCertificateForIt) {
  TlsServerSetup old = good();
  old.tls12 = true;
  expect_backend_refused(old, "backend_tls_failed", "alert",
                         kOldRoute + R"(, "credentials": "none")");
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
  start_for(server.address());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(answered(server));
  for (const LogLine& line : gateway->wait_logs(5)) EXPECT_EQ(line.at("reason"), "done");
  EXPECT_EQ(gateway->metrics().sum("backend_tls_handshakes_total", {{"result", "success"}}), 5);
  EXPECT_EQ(resumed(), 0);
}

}  // namespace
}  // namespace sallyport::test
