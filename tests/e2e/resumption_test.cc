// A ticket spares the certificates and nothing else: trust, listeners, validity, route and rules
// are judged again each time, and whatever does not fit becomes a full handshake, silently.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Resumption : public Scenario {
 protected:
  Backend backend{echo()};

  /// A session earned by a served connection.
  std::shared_ptr<SSL_SESSION> earn(const ClientOptions& options) const {
    TlsClient tls = connect(options);
    EXPECT_TRUE(tls.echo("first"));
    const auto session = tls.session();
    EXPECT_NE(session, nullptr);
    tls.close_notify();
    tls.receive_all();
    return session;
  }
  std::shared_ptr<SSL_SESSION> earn() const { return earn(as(client)); }

  ClientOptions with(const std::shared_ptr<SSL_SESSION>& session) const {
    ClientOptions options = as(client);
    options.session = session;
    return options;
  }

  /// Served with this session; says whether it was resumed.
  bool resumes(const std::shared_ptr<SSL_SESSION>& session) const {
    TlsClient tls = connect(with(session));
    EXPECT_TRUE(tls.connected()) << tls.tls_error();
    EXPECT_TRUE(tls.echo("again"));
    return tls.resumed();
  }
};

TEST_F(Resumption, KeepsIdentityAndSaysSoInLogAndMetrics) {
  start_for(backend);
  const auto session = earn();
  {
    TlsClient tls = connect(with(session));
    ASSERT_TRUE(tls.resumed());
    EXPECT_TRUE(tls.echo(pseudo_random(300'000, 2)));
    tls.close_notify();
  }
  const LogLine line = gateway->wait_log({{"resumed", "true"}});
  EXPECT_EQ(line.at("identity"), kWeb);
  EXPECT_EQ(line.at("reason"), "done");
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("tls_handshakes_total", {{"result", "success"}, {"resumed", "true"}}), 1);
  EXPECT_EQ(metrics.sum("tls_handshakes_total", {{"result", "success"}, {"resumed", "false"}}), 1);
}

TEST_F(Resumption, WorksForEachSuite) {
  start_for(backend);
  for (const char* suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    ClientOptions options = as(client);
    options.ciphersuites = suite;
    options.session = earn(options);
    TlsClient tls = connect(options);
    EXPECT_TRUE(tls.resumed()) << suite;
    EXPECT_TRUE(tls.echo("again")) << suite;
  }
}

TEST_F(Resumption, GivesOneTicketUnlessToldOtherwise) {
  start_for(backend);
  TlsClient tls = connect();
  ASSERT_NE(tls.session(), nullptr);
  ASSERT_TRUE(tls.echo("x"));
  EXPECT_EQ(tls.tickets_received(), 1U);
}

TEST_F(Resumption, GivesAsManyTicketsAsTold) {
  start_for(backend, {"--tickets", "3"});
  TlsClient tls = connect();
  ASSERT_NE(tls.session(), nullptr);
  ASSERT_TRUE(tls.echo("x"));
  EXPECT_EQ(tls.tickets_received(), 3U);
}

TEST_F(Resumption, IsOffWithoutTickets) {
  start_for(backend, {"--tickets", "0"});
  TlsClient tls = connect();
  ASSERT_TRUE(tls.echo("x"));
  ASSERT_TRUE(tls.echo("y"));
  EXPECT_EQ(tls.tickets_received(), 0U);
}

TEST_F(Resumption, GivesNoTicketToARefusedClient) {
  start_for(backend);
  TlsClient tls = connect(as(root.issue({.spiffe = {"spiffe://elsewhere.org/web"}})));
  tls.receive(1);
  EXPECT_EQ(tls.alert().value_or(-1), kAccessDenied);
  EXPECT_EQ(tls.tickets_received(), 0U);
}

TEST_F(Resumption, EndsWithTheMaximumAgeOfTheFullHandshake) {
  start_for(backend, {"--ticket-max-age", "2s"});
  const auto session = earn();
  wait_until("the ticket is too old", [&] { return !resumes(session); });
}

TEST_F(Resumption, NeverOutlivesTheClientsCertificate) {
  // Two seconds from issuing: after that a resumption must become a full handshake, which fails.
  client = root.issue({.spiffe = {kWeb}, .not_after = std::chrono::seconds(4)});
  start_for(backend);
  const auto session = earn();
  wait_until("the certificate expires", [&] {
    TlsClient tls = connect(with(session));
    // One that is resumed in the last moment ends when the certificate does.
    if (tls.connected() && (tls.echo("x") || tls.resumed())) return false;
    EXPECT_EQ(tls.alert().value_or(-1), kCertificateExpired);
    return true;
  });
}

TEST_F(Resumption, IsRefusedAcrossAChangeOfTrust) {
  start_for(backend);
  const auto session = earn();
  ASSERT_TRUE(resumes(session));
  const double before = reloads("success");
  dir.replace("ca.pem", root.cert_pem() + TestAuthority("Second Root").cert_pem());
  wait_reload("success", before);
  EXPECT_FALSE(resumes(session));
}

TEST_F(Resumption, SurvivesARenewalOfTheGatewaysCertificate) {
  start_for(backend);
  const auto session = earn();
  const double before = reloads("success");
  const TestCertificate renewed = root.issue({.dns = {"orders.example.org"}}, server.key);
  dir.replace("gateway.pem", renewed.chain_pem);
  wait_reload("success", before);
  EXPECT_TRUE(resumes(session));
}

TEST_F(Resumption, IsRefusedOnceTheClientIsRevoked) {
  const std::string crl = dir.write("crl.pem", root.crl());
  start_for(backend, {"--crl", crl});
  const auto session = earn();
  ASSERT_TRUE(resumes(session));
  const double before = reloads("success");
  dir.replace("crl.pem", root.crl({client.serial}));
  wait_reload("success", before);
  TlsClient tls = connect(with(session));
  EXPECT_EQ(tls.receive(1), "");
  EXPECT_FALSE(tls.resumed());
  EXPECT_EQ(tls.alert().value_or(-1), kCertificateRevoked);
}

TEST_F(Resumption, IsAuthorisedAnew) {
  const auto policy = [&](const char* allowed) {
    dir.replace("policy.json",
                std::string(R"({"routes": {"orders": {"allow": [")") + allowed + R"("]}}})");
  };
  policy("spiffe://example.org/**");
  start_for(backend, {"--policy", dir / "policy.json"});
  const auto session = earn();
  const double before = reloads("success");
  policy("spiffe://example.org/ns/bank/**");
  wait_reload("success", before);
  expect_refused(with(session), "not_authorized", kAccessDenied);
}

TEST_F(Resumption, IsRoutedByTheNameOfThisHandshake) {
  Backend other(named("billing "));
  discover(
      {{{backend.address()}, {{"route", "orders"}}}, {{other.address()}, {{"route", "billing"}}}});
  start({"--policy", dir.write("policy.json", R"({"routes": {
    "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/**"]},
    "billing": {"sni": ["billing.example.org"], "allow": ["spiffe://example.org/ns/bank/**"]}}})")});
  ClientOptions options = with(earn());
  options.sni = "billing.example.org";
  expect_refused(options, "not_authorized", kAccessDenied);
  EXPECT_EQ(other.accepted(), 0);
}

// Two gateways under one ticket secret: the same door, the same trust, or neither.
class SharedTicketSecret : public Resumption {
 protected:
  void SetUp() override {
    dir.write_secret("tickets",
                     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
    discover({backend.address()});
  }
  std::vector<std::string> shared(std::vector<std::string> more) {
    more.insert(more.end(), {"--ticket-keys", dir / "tickets"});
    return more;
  }
};

TEST_F(SharedTicketSecret, ResumesAfterARestart) {
  start(shared({}));
  const auto session = earn();
  finish();
  start(shared({}));
  EXPECT_TRUE(resumes(session));
}

// Gateways of a fleet: the same port, each on the address of its machine.
TEST_F(SharedTicketSecret, ResumesOnAnotherAddressOfTheSamePort) {
  start(shared({}));
  const auto session = earn();
  finish();
  start(shared({"--listen", "127.0.0.2:0"}));
  EXPECT_TRUE(resumes(session));
}

TEST_F(SharedTicketSecret, DoesNotResumeOnAnotherSetOfPorts) {
  start(shared({}));
  const auto session = earn();
  const std::string other_port = gateway->address();
  finish();
  start(shared({"--listen", "127.0.0.1:0", "--listen", other_port}));
  EXPECT_FALSE(resumes(session));
}

TEST_F(SharedTicketSecret, DoesNotResumeUnderAnotherTrust) {
  const std::string more =
      dir.write("two.pem", root.cert_pem() + TestAuthority("Partner Root").cert_pem());
  start(shared({}));
  const auto session = earn();
  finish();
  start(shared({"--ca", more}));
  EXPECT_FALSE(resumes(session));
}

TEST_F(SharedTicketSecret, DoesNotResumeUnderAnotherSecret) {
  start(shared({}));
  const auto session = earn();
  finish();
  dir.write_secret("tickets", std::string(64, 'a') + "\n");
  start(shared({}));
  EXPECT_FALSE(resumes(session));
}

TEST_F(SharedTicketSecret, RotatesWithTheOldSecretBehindTheNew) {
  start(shared({}));
  const auto session = earn();
  finish();
  dir.write_secret("tickets",
                   std::string(64, 'b') +
                       "\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
  start(shared({}));
  EXPECT_TRUE(resumes(session));
}

}  // namespace
}  // namespace sallyport::test
