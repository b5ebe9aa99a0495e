// Certificates, CAs and CRLs by route, named in the policy file: each server name has its own, and
// what one route trusts opens no other.
#include <functional>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

// Two routes: "orders" as the flags have it, "billing" with certificates and a trust of its own,
// and "both", which shares the trust of "billing" but not its certificates.
class RouteCredentials : public Scenario {
 protected:
  void SetUp() override {
    discover({{{backend.address()}, {{"route", "orders"}}},
              {{backend.address()}, {{"route", "billing"}}},
              {{backend.address()}, {{"route", "both"}}}});
    write_pair("billing", billing_server);
    dir.write("partners.pem", partners.cert_pem());
    dir.write("policy.json", policy());
  }

  void write_pair(const std::string& name, const TestCertificate& certificate) {
    dir.write(name + ".pem", certificate.chain_pem);
    dir.write_secret(name + ".key", certificate.key_pem);
  }

  // Relative paths: they are relative to the file.
  static std::string policy(const std::string& trust = R"("ca": ["partners.pem"])",
                            const std::string& of_billing = R"("billing")") {
    return R"({"credentials": {"billing": {"cert": "billing.pem", "key": "billing.key"}},
  "trust": {"partners": {)" +
           trust + R"(}},
  "routes": {
    "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/**"]},
    "billing": {"sni": ["billing.example.org"], "allow": ["spiffe://partners.org/**"],
                "credentials": )" +
           of_billing + R"(, "trust": "partners"},
    "both": {"sni": ["both.example.org"], "allow": ["spiffe://partners.org/**"],
             "trust": "partners"}}})";
  }

  Gateway& start_with_policy() { return start({"--policy", (dir / "policy.json").string()}); }

  ClientOptions to(const std::string& route, const TestCertificate& certificate) const {
    ClientOptions options = as(certificate);
    options.sni = route + ".example.org";
    options.trust_pem = root.cert_pem() + partners.cert_pem();
    return options;
  }

  std::shared_ptr<SSL_SESSION> earn(const ClientOptions& options) {
    TlsClient tls = connect(options);
    EXPECT_TRUE(tls.echo("x")) << to_string(tls.end());
    auto session = tls.session();
    EXPECT_TRUE(session);
    tls.close_notify();
    tls.receive_all();
    return session;
  }

  void change(const std::function<void()>& write, const char* source = "credentials") {
    const double before = reloads("success", source);
    write();
    wait_reload("success", before, source);
  }

  Backend backend{echo()};
  TestAuthority partners{"Partners Root"};
  TestCertificate billing_server =
      partners.issue({.cn = "billing", .dns = {"billing.example.org"}});
  TestCertificate partner = partners.issue({.spiffe = {"spiffe://partners.org/a"}});
};

std::vector<std::string> ca_names(TlsClient& tls) {
  std::vector<std::string> names;
  const STACK_OF(X509_NAME)* const list = SSL_get0_peer_CA_list(tls.ssl());
  for (int i = 0; i < sk_X509_NAME_num(list); ++i) {
    char text[256];
    X509_NAME_oneline(sk_X509_NAME_value(list, i), text, sizeof text);
    names.emplace_back(text);
  }
  return names;
}

TEST_F(RouteCredentials, AreChosenByServerName) {
  start_with_policy();
  TlsClient orders = connect(to("orders", client));
  EXPECT_TRUE(orders.echo("orders"));
  EXPECT_EQ(orders.server_serial(), server.serial);
  EXPECT_EQ(ca_names(orders), std::vector<std::string>{"/CN=Mesh Root"});

  TlsClient billing = connect(to("billing", partner));
  EXPECT_TRUE(billing.echo("billing")) << billing.tls_error();
  EXPECT_EQ(billing.server_serial(), billing_server.serial);
  EXPECT_EQ(ca_names(billing), std::vector<std::string>{"/CN=Partners Root"});

  ClientOptions options = to("both", partner);
  options.trust_pem.reset();
  TlsClient both = connect(options);
  EXPECT_TRUE(both.echo("both"));
  EXPECT_EQ(both.server_serial(), server.serial);
  EXPECT_EQ(ca_names(both), std::vector<std::string>{"/CN=Partners Root"});
}

TEST_F(RouteCredentials, ServeTls12AsWell) {
  start({"--min-tls", "1.2", "--policy", (dir / "policy.json").string()});
  ClientOptions options = to("billing", partner);
  options.min_version = options.max_version = TLS1_2_VERSION;
  TlsClient billing = connect(options);
  EXPECT_TRUE(billing.echo("billing")) << billing.tls_error();
  EXPECT_EQ(billing.server_serial(), billing_server.serial);
}

TEST_F(RouteCredentials, TrustNobodyOfAnotherRoute) {
  start_with_policy();
  // Whom a route would allow, but by the CA of another.
  const TestCertificate forged = root.issue({.spiffe = {"spiffe://partners.org/a"}});
  const TestCertificate other_way = partners.issue({.spiffe = {kWeb}});
  for (const auto& [route, certificate] : {std::pair{"billing", forged}, {"orders", other_way}}) {
    TlsClient tls = connect(to(route, certificate));
    EXPECT_EQ(tls.receive(1), "");
    EXPECT_EQ(tls.alert().value_or(-1), kUnknownCa) << route;
  }
}

// Not even where both trust the same: what resumes is a client of that route.
TEST_F(RouteCredentials, TakeNoTicketOfAnotherRoute) {
  start_with_policy();
  const TestCertificate both_ways =
      partners.issue({.spiffe = {"spiffe://partners.org/a"}, .key_type = KeyType::kEcdsaP384});
  for (const std::string from : {"billing", "both"}) {
    for (const std::string at : {"billing", "both"}) {
      ClientOptions options = to(at, both_ways);
      options.trust_pem.reset();
      ClientOptions first = to(from, both_ways);
      first.trust_pem.reset();
      options.session = earn(first);
      TlsClient tls = connect(options);
      EXPECT_TRUE(tls.echo("again")) << from << " at " << at;
      EXPECT_EQ(tls.resumed(), from == at) << from << " at " << at;
    }
  }
  ClientOptions stranger = to("orders", partner);
  stranger.session = earn(to("billing", partner));
  TlsClient tls = connect(stranger);
  EXPECT_EQ(tls.receive(1), "");
  EXPECT_FALSE(tls.resumed());
  EXPECT_EQ(tls.alert().value_or(-1), kUnknownCa);
}

// Another gateway that has the same ticket secret: what counts is the trust of the route, not that
// of the flags, and the set of ports.
TEST_F(RouteCredentials, TakeTicketsOfAnotherGatewayUnderTheTrustOfTheRouteOnly) {
  dir.write_secret("tickets", std::string(64, 'a') + "\n");
  dir.write("partners.crl", partners.crl());
  dir.write("policy.json", policy(R"("ca": ["partners.pem"], "crl": ["partners.crl"])"));
  const auto start_another = [&](std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--ticket-keys", dir / "tickets", "--policy", dir / "policy.json"});
    start(more);
  };
  start_another();
  ClientOptions with_ticket = to("billing", partner);
  with_ticket.session = earn(to("billing", partner));
  const std::string another_port = gateway->address();
  finish();
  const auto expect_resumed = [&](bool expected, const char* where) {
    {
      TlsClient tls = connect(with_ticket);
      EXPECT_TRUE(tls.echo("again")) << where << ": " << tls.tls_error();
      EXPECT_EQ(tls.resumed(), expected) << where;
    }
    finish();
  };

  start_another();
  expect_resumed(true, "the same in all");
  const std::string two = root.cert_pem() + TestAuthority("Another Root").cert_pem();
  start_another({"--ca", dir.write("two.pem", two)});
  expect_resumed(true, "another trust of the flags");
  start_another({"--listen", "127.0.0.2:0"});
  expect_resumed(true, "another address");
  start_another({"--listen", "127.0.0.1:0", "--listen", another_port});
  expect_resumed(false, "another set of ports");
  dir.write("partners.pem", partners.cert_pem() + TestAuthority("More Partners").cert_pem());
  start_another();
  expect_resumed(false, "another trust of the route");
  dir.write("partners.pem", partners.cert_pem());
  dir.write("partners.crl", partners.crl({partner.serial}));
  start_another();
  TlsClient revoked = connect(with_ticket);
  EXPECT_EQ(revoked.receive(1), "");
  EXPECT_FALSE(revoked.resumed());
  EXPECT_EQ(revoked.alert().value_or(-1), kCertificateRevoked);
}

TEST_F(RouteCredentials, AreReplacedWhileConnectionsLive) {
  start_with_policy();
  TlsClient lives = connect(to("billing", partner));
  ASSERT_TRUE(lives.echo("before"));
  const auto ticket = earn(to("billing", partner));
  const TestCertificate renewed =
      partners.issue({.dns = {"billing.example.org"}}, billing_server.key);
  change([&] { dir.replace("billing.pem", renewed.chain_pem); });
  TlsClient tls = connect(to("billing", partner));
  EXPECT_TRUE(tls.echo("new"));
  EXPECT_EQ(tls.server_serial(), renewed.serial);
  ClientOptions again = to("billing", partner);
  again.session = ticket;
  EXPECT_TRUE(connect(again).resumed());
  EXPECT_TRUE(lives.echo("after"));
}

TEST_F(RouteCredentials, EndWhomTheirTrustNoLongerNames) {
  start_with_policy();
  TlsClient orders = connect(to("orders", client));
  TlsClient billing = connect(to("billing", partner));
  ASSERT_TRUE(orders.echo("x") && billing.echo("x"));
  const TestAuthority others("Other Partners");
  change([&] { dir.replace("partners.pem", others.cert_pem()); });
  EXPECT_EQ(billing.receive_all(), "");
  EXPECT_EQ(billing.alert().value_or(-1), kUnknownCa);
  EXPECT_TRUE(orders.echo("y"));
}

TEST_F(RouteCredentials, RevokeByTheListOfTheRoute) {
  dir.write("partners.crl", partners.crl());
  dir.write("policy.json", policy(R"("ca": ["partners.pem"], "crl": ["partners.crl"])"));
  start_with_policy();
  TlsClient lives = connect(to("billing", partner));
  ASSERT_TRUE(lives.echo("x"));
  TlsClient orders = connect(to("orders", client));
  ASSERT_TRUE(orders.echo("x"));  // no list is asked for there
  change([&] { dir.replace("partners.crl", partners.crl({partner.serial})); });
  EXPECT_EQ(lives.receive_all(), "");
  EXPECT_EQ(lives.alert().value_or(-1), kCertificateRevoked);
  TlsClient anew = connect(to("billing", partner));
  EXPECT_EQ(anew.receive(1), "");
  EXPECT_EQ(anew.alert().value_or(-1), kCertificateRevoked);
  EXPECT_TRUE(orders.echo("y"));
}

TEST_F(RouteCredentials, StayAtTheirLastGoodStateEachByItself) {
  start_with_policy();
  const double failures = reloads("failure", "credentials");
  dir.replace("billing.pem", "nonsense");
  wait_reload("failure", failures, "credentials");
  TlsClient billing = connect(to("billing", partner));
  EXPECT_TRUE(billing.echo("x"));
  EXPECT_EQ(billing.server_serial(), billing_server.serial);

  // The gateway's own, renewed beside the broken one.
  const TestCertificate renewed = root.issue({.dns = {"orders.example.org"}}, server.key);
  const double before = reloads("failure", "credentials");
  dir.replace("gateway.pem", renewed.chain_pem);
  wait_reload("failure", before, "credentials");
  wait_until("the flags' certificate is renewed", [&] {
    TlsClient tls = connect(to("orders", client));
    return tls.echo("x") && tls.server_serial() == renewed.serial;
  });
  change([&] { dir.replace("billing.pem", billing_server.chain_pem); });
}

TEST_F(RouteCredentials, KeepAPolicyOutThatNamesWhatCannotBeRead) {
  start_with_policy();
  const double before = reloads("failure", "policy");
  dir.replace("policy.json", policy(R"("ca": ["missing.pem"])"));
  wait_reload("failure", before, "policy");
  EXPECT_TRUE(connect(to("billing", partner)).echo("x"));
  dir.replace("policy.json", policy());
  wait_until("the file is in force", [&] {
    return gateway->metrics().sum("config_source_current", {{"source", "policy"}}) == 1;
  });
}

// Each client gets one that it can verify.
TEST_F(RouteCredentials, OfEachKindOfKeyStandBesideEachOther) {
  const auto of_key = [this](KeyType type) {
    return partners.issue({.dns = {"billing.example.org"}, .key_type = type});
  };
  struct Kind {
    const char* algorithm;
    KeyType type;
    TestCertificate certificate;
  };
  std::vector<Kind> kinds;
  for (const auto& [algorithm, type] : {std::pair{"ECDSA+SHA256", KeyType::kEcdsaP256},
                                        {"ECDSA+SHA384", KeyType::kEcdsaP384},
                                        {"RSA-PSS+SHA256", KeyType::kRsa2048},
                                        {"ed25519", KeyType::kEd25519}}) {
    kinds.push_back({algorithm, type, of_key(type)});
  }
  std::string definitions, names;
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const std::string name = "k" + std::to_string(i);
    dir.write_secret(name + ".pem", kinds[i].certificate.key_pem + kinds[i].certificate.chain_pem);
    definitions += (i > 0 ? ", \"" : "\"") + name + R"(": {"bundle": ")" + name + ".pem\"}";
    names += (i > 0 ? ", \"" : "\"") + name + "\"";
  }
  std::string text = policy(R"("ca": ["partners.pem"])", "[" + names + "]");
  const std::string single = R"("billing": {"cert": "billing.pem", "key": "billing.key"})";
  text.replace(text.find(single), single.size(), definitions);
  dir.write("policy.json", text);
  start({"--min-tls", "1.2", "--policy", (dir / "policy.json").string()});
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    for (const auto& [algorithm, type, certificate] : kinds) {
      // There the hash says nothing of the curve.
      if (version == TLS1_2_VERSION && type == KeyType::kEcdsaP384) continue;
      ClientOptions options = to("billing", partner);
      options.min_version = options.max_version = version;
      options.signature_algorithms = algorithm;  // which it signs by as well
      options.certificate =
          partners.issue({.spiffe = {"spiffe://partners.org/a"}, .key_type = type});
      TlsClient tls = connect(options);
      EXPECT_TRUE(tls.connected()) << algorithm << ": " << tls.tls_error();
      EXPECT_EQ(tls.server_serial(), certificate.serial) << algorithm;
      tls.reset();
    }
  }
}

TEST_F(RouteCredentials, OfTls12GoByTheCurvesOfTheClient) {
  const TestCertificate p384 =
      partners.issue({.dns = {"billing.example.org"}, .key_type = KeyType::kEcdsaP384});
  dir.write_secret("p384.pem", p384.key_pem + p384.chain_pem);
  std::string text = policy(R"("ca": ["partners.pem"])", R"(["billing", "p384"])");
  text.replace(text.find("\"credentials\": {"), 16,
               R"("credentials": {"p384": {"bundle": "p384.pem"}, )");
  dir.write("policy.json", text);
  start({"--min-tls", "1.2", "--policy", (dir / "policy.json").string()});
  for (const auto& [groups, serial] :
       {std::pair{"P-256:P-384", billing_server.serial}, {"X25519:P-384", p384.serial}}) {
    ClientOptions options = to("billing", partner);
    options.min_version = options.max_version = TLS1_2_VERSION;
    options.groups = groups;
    options.certificate =
        partners.issue({.spiffe = {"spiffe://partners.org/a"}, .key_type = KeyType::kRsa2048});
    TlsClient tls = connect(options);
    EXPECT_TRUE(tls.connected()) << groups << ": " << tls.tls_error();
    EXPECT_EQ(tls.server_serial(), serial) << groups;
    tls.reset();
  }
}

TEST_F(RouteCredentials, ShowInTheAdminPagesAndMetrics) {
  start_with_policy();
  const std::string page = gateway->get("/credentials").body;
  for (const std::string& word :
       {"credentials.billing", "trust.partners", "Partners Root", "Mesh Root"}) {
    EXPECT_NE(page.find(word), std::string::npos) << word;
  }
  const Metrics metrics = gateway->metrics();
  for (const char* file : {"billing.pem", "partners.pem", "gateway.pem", "ca.pem"}) {
    EXPECT_TRUE(
        metrics.has("certificate_expiry_timestamp_seconds", {{"name", (dir / file).string()}}))
        << file;
  }
}

}  // namespace
}  // namespace sallyport::test
