// A mesh whose certificates come from a real CA, by deploy/ca: gateway and client are renewed at
// half their lives, a client is revoked, the CA is replaced by a new root beside the old one.
// Whatever must pass meanwhile does, and what has failed changes nothing.
#include <openssl/bio.h>
#include <openssl/pem.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <ostream>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

struct Kind {
  const char* name;      ///< of the CA's program
  const char* server;    ///< names that it can issue, for deploy/ca
  const char* client;    ///< and for the client
  const char* identity;  ///< the same as a pattern
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

std::string read(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Key and chain as the script has written them.
TestCertificate certificate_in(const std::string& chain_pem, const std::string& key_pem) {
  const auto bio = [](const std::string& pem) {
    return std::unique_ptr<BIO, decltype(&BIO_free)>(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  };
  TestCertificate read;
  read.x509.reset(PEM_read_bio_X509(bio(chain_pem).get(), nullptr, nullptr, nullptr), X509_free);
  read.key.reset(PEM_read_bio_PrivateKey(bio(key_pem).get(), nullptr, nullptr, nullptr),
                 EVP_PKEY_free);
  if (!read.x509 || !read.key) throw TestFailure("no certificate or key in what was renewed");
  read.cert_pem = read.chain_pem = to_pem(read.x509.get());
  read.key_pem = key_pem;
  return read;
}

class IssuingCa : public Scenario, public ::testing::WithParamInterface<Kind> {
 protected:
  IssuingCa() {
    std::filesystem::create_directory(dir / "authority");
    std::filesystem::create_directory(dir / "gateway");
    std::filesystem::create_directory(dir / "web");
  }

  /// The next certificates live so long, and have lived for `backdate` when they are issued: past
  /// the half of it is due at the next run, without waiting.
  void lifetime(const std::string& whole, const std::string& backdate) {
    dir.write("authority/ca.conf", std::string("kind = ") + GetParam().name +
                                       "\nlifetime = " + whole + "\nbackdate = " + backdate + "\n");
  }
  void due_at_once() { lifetime("30m", "20m"); }
  void due_in_half_an_hour() { lifetime("1h", "2m"); }

  std::string authority_command(const std::string& rest) const {
    return std::string(DEPLOY_CA) + "/ca " + (dir / "authority").string() + " " + rest;
  }
  void authority(const std::string& rest) {
    const Finished finished = run({"sh", "-c", authority_command(rest)});
    EXPECT_EQ(finished.status, 0) << rest << "\n" << finished.err;
  }

  /// The settings of the gateway: key and chain in one file.
  std::string gateway_settings(const std::string& issue = "") const {
    const std::string names = GetParam().server;
    return settings("gateway", "server", names, issue) +
           "bundle = " + (dir / "gateway/both.pem").string() +
           "\ncrl = " + (dir / "gateway/crl.pem").string() + "\nget-crl = cat " +
           (dir / "authority/crl.pem").string() + "\n";
  }
  /// The settings of the client: two files, and a program that is told.
  std::string web_settings(const std::string& issue = "") const {
    return settings("web", "client", GetParam().client, issue) +
           "cert = " + (dir / "web/web.pem").string() +
           "\nkey = " + (dir / "web/web.key").string() + "\nmode = 0400\nreload = echo told >>" +
           (dir / "web/told").string() + "\n";
  }
  std::string settings(const std::string& folder, const std::string& use, const std::string& names,
                       const std::string& issue) const {
    return "names = " + names + "\nuse = " + use +
           "\nissue = " + (issue.empty() ? authority_command("sign " + use + " " + names) : issue) +
           "\ntrust = " + (dir / folder / "trust.pem").string() + "\nget-trust = cat " +
           (dir / "authority/trust.pem").string() + "\n";
  }

  Finished renew(const std::string& name, const std::string& content) {
    return run({std::string(DEPLOY_CA) + "/renew", dir.write(name + ".conf", content)}, {},
               {"TMPDIR=" + dir.path().string()});
  }
  void renew_gateway() {
    const Finished finished = renew("gateway", gateway_settings());
    EXPECT_EQ(finished.status, 0) << finished.err;
  }
  void renew_web() {
    const Finished finished = renew("web", web_settings());
    EXPECT_EQ(finished.status, 0) << finished.err;
  }

  /// The client as it stands in its files now.
  ClientOptions web() const {
    return {.certificate = certificate_in(read(dir / "web/web.pem"), read(dir / "web/web.key")),
            .trust_pem = read(dir / "web/trust.pem"),
            .sni = "orders.example.org"};
  }
  std::string serial_of(const ClientOptions& options) {
    const Finished shown =
        run({"openssl", "x509", "-noout", "-serial"}, options.certificate->cert_pem);
    return shown.out.substr(shown.out.find('=') + 1,
                            shown.out.find('\n') - shown.out.find('=') - 1);
  }

  /// Until the gateway shows the certificate of its file.
  void wait_shown() {
    const std::string file = read(dir / "gateway/both.pem");
    wait_until("the renewed certificate is shown", [&] {
      TlsClient tls = connect(web());
      if (!tls.connected()) throw TestFailure("refused meanwhile: " + tls.tls_error());
      return file.contains(to_pem(SSL_get0_peer_certificate(tls.ssl())));
    });
  }
  /// The gateway fetches what the CA has published, and every shard has it.
  void publish_to_gateway() {
    const double before = reloads("success", "credentials");
    renew_gateway();
    wait_reload("success", before, "credentials");
  }

  void begin() {
    authority("init");
    renew_gateway();
    renew_web();
    discover({backend.address()});
    std::vector<std::string> argv{sallyport_program()};
    for (const auto& [flag, value] : std::vector<std::pair<std::string, std::string>>{
             {"--listen", "127.0.0.1:0"},
             {"--admin", "127.0.0.1:0"},
             {"--credentials", dir / "gateway/both.pem"},
             {"--ca", dir / "gateway/trust.pem"},
             {"--crl", dir / "gateway/crl.pem"},
             {"--discovery", dir / "discovery.json"},
             {"--allow", GetParam().identity}}) {
      argv.push_back(flag);
      argv.push_back(value);
    }
    gateway = std::make_unique<Gateway>(Gateway::Command{argv});
    EXPECT_TRUE(served(web()));
  }

  Backend backend{echo()};
};

TEST_P(IssuingCa, RenewsGatewayAndClientAtHalfTheirLives) {
  due_at_once();
  begin();
  TlsClient live = connect(web());
  ASSERT_TRUE(live.echo("hello"));
  const ClientOptions before = web();

  due_in_half_an_hour();
  renew_gateway();
  renew_web();
  wait_shown();
  EXPECT_NE(serial_of(web()), serial_of(before));
  EXPECT_TRUE(served(web()));
  EXPECT_TRUE(served(before));
  EXPECT_TRUE(live.echo("still here"));
  EXPECT_EQ(read(dir / "web/told"), "told\ntold\n");
  EXPECT_EQ(std::filesystem::status(dir / "web/web.key").permissions(),
            std::filesystem::perms(0400));
  EXPECT_EQ(std::filesystem::status(dir / "gateway/both.pem").permissions(),
            std::filesystem::perms(0600));

  // Now they are in their first half: nothing is due, nothing is touched.
  const std::string both = read(dir / "gateway/both.pem");
  renew_gateway();
  renew_web();
  EXPECT_EQ(read(dir / "gateway/both.pem"), both);
  EXPECT_EQ(read(dir / "web/told"), "told\ntold\n");
  EXPECT_EQ(reloads("failure"), 0);
  live.close_notify();
  live.receive_all();
}

TEST_P(IssuingCa, RefusesARevokedClientOnceTheListIsFetched) {
  due_in_half_an_hour();
  begin();
  const ClientOptions gone = web();
  authority("revoke " + serial_of(gone));
  publish_to_gateway();
  expect_refused(gone, "certificate_revoked", kCertificateRevoked);

  std::filesystem::remove(dir / "web/web.key");
  renew_web();
  EXPECT_TRUE(served(web()));
  authority("refresh");
  publish_to_gateway();
  expect_refused(gone, "certificate_revoked", kCertificateRevoked);
  EXPECT_TRUE(served(web()));
}

TEST_P(IssuingCa, IsReplacedByANewRootBesideTheOldOne) {
  due_at_once();
  begin();
  ClientOptions old = web();
  TlsClient live = connect(old);
  ASSERT_TRUE(live.echo("hello"));

  authority("add");  // both are trusted, the old one issues
  publish_to_gateway();
  renew_web();
  wait_shown();
  EXPECT_TRUE(served(web()));
  old.trust_pem = web().trust_pem;  // of both
  EXPECT_TRUE(served(old));

  authority("switch");  // the new one issues
  renew_web();
  EXPECT_TRUE(served(web()));
  renew_gateway();
  wait_shown();
  EXPECT_TRUE(served(web()));
  EXPECT_TRUE(live.echo("still here"));
  live.close_notify();
  live.receive_all();

  authority("remove");  // the old one is not trusted any more
  TlsClient renewed = connect(web());
  ASSERT_TRUE(renewed.echo("hello"));
  due_in_half_an_hour();  // the gateway shows its certificate of the new root already
  publish_to_gateway();
  // The lists are fetched first: until the bundle follows, the old root is one without a list.
  wait_until("the old root is not trusted", [&] {
    {
      TlsClient tls = connect(old);
      tls.echo("ping");
    }
    return gateway->metrics().sum("tls_handshakes_total",
                                  {{"result", "certificate_authority_invalid"}}) > 0;
  });
  expect_refused(old, "certificate_authority_invalid", kUnknownCa);
  renew_web();
  EXPECT_TRUE(served(web()));
  EXPECT_TRUE(renewed.echo("still here"));
  EXPECT_EQ(reloads("failure"), 0);
  renewed.close_notify();
  renewed.receive_all();
}

TEST_P(IssuingCa, LeavesTheOldCredentialsInForceWhateverFails) {
  due_at_once();
  begin();
  const std::string before = read(dir / "gateway/both.pem");
  const std::string trust = read(dir / "gateway/trust.pem");
  const std::string names = GetParam().server;
  const std::string by_authority = authority_command("sign server ");
  struct Case {
    std::string issue, says;
  };
  const Case cases[] = {
      {"false", "'false' failed"},
      {"true", "there is no certificate"},
      {"cat >/dev/null; echo '-----BEGIN CERTIFICATE-----'", "there is no certificate"},
      {"cat >/dev/null; cat " + (dir / "web/web.pem").string(), "is not of the key"},
      {by_authority + "DNS:other.example.org", "not for " + names},
      {authority_command("sign client " + names), "does not verify"},
  };
  for (const Case& each : cases) {
    const Finished finished = renew("gateway", gateway_settings(each.issue));
    EXPECT_EQ(finished.status, 1) << each.issue;
    EXPECT_TRUE(finished.err.contains(each.says)) << finished.err;
    EXPECT_TRUE(finished.err.contains("the old ones stay in force")) << finished.err;
    EXPECT_FALSE((finished.out + finished.err).contains("PRIVATE KEY"));
    EXPECT_EQ(read(dir / "gateway/both.pem"), before) << each.issue;
  }

  // A run that is killed leaves nothing that the next one stumbles over.
  const Finished killed = renew("gateway", gateway_settings("kill -KILL $PPID"));
  EXPECT_EQ(killed.status, 128 + SIGKILL) << killed.err;
  EXPECT_EQ(read(dir / "gateway/both.pem"), before);

  // What is published is cut off, or is no list at all.
  const std::string published = read(dir / "authority/trust.pem");
  for (const std::string& broken :
       {std::string(), published.substr(0, published.size() / 2), published + "-----BEGIN CERT"}) {
    dir.replace("authority/trust.pem", broken);
    EXPECT_EQ(renew("gateway", gateway_settings("false")).status, 1);
    EXPECT_EQ(read(dir / "gateway/trust.pem"), trust);
  }
  dir.replace("authority/trust.pem", published);

  // A reload that failed is repeated, though nothing else is due then.
  due_in_half_an_hour();
  const std::string unwilling = web_settings() + "reload = test -e " + (dir / "willing").string() +
                                " && echo told >" + (dir / "web/told").string() + "\n";
  EXPECT_EQ(renew("web", unwilling).status, 1);
  dir.write("willing", "");
  EXPECT_EQ(renew("web", unwilling).status, 0);
  EXPECT_EQ(read(dir / "web/told"), "told\n");

  renew_gateway();
  EXPECT_NE(read(dir / "gateway/both.pem"), before);
  wait_shown();
  EXPECT_TRUE(served(web()));
}

// Where another program renews the certificate, lists and roots are fetched all the same.
TEST_P(IssuingCa, PublishesListsAndRootsToWhatItDoesNotRenew) {
  due_in_half_an_hour();
  authority("init");
  const std::string fetching = "trust = " + (dir / "web/trust.pem").string() +
                               "\nget-trust = cat " + (dir / "authority/trust.pem").string() +
                               "\ncrl = " + (dir / "web/crl.pem").string() + "\nget-crl = cat " +
                               (dir / "authority/crl.pem").string() + "\n";
  const Finished finished = renew("web", fetching);
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(read(dir / "web/trust.pem"), read(dir / "authority/trust.pem"));
  EXPECT_EQ(read(dir / "web/crl.pem"), read(dir / "authority/crl.pem"));
  EXPECT_EQ(renew("web", fetching + "names = DNS:a.example.org\n").status, 2);
  EXPECT_EQ(renew("web", fetching + "nmaes = DNS:a.example.org\n").status, 2);
}

INSTANTIATE_TEST_SUITE_P(
    By, IssuingCa,
    ::testing::Values(
        Kind{"openssl", "DNS:orders.example.org,URI:spiffe://example.org/gateway",
             "URI:spiffe://example.org/ns/shop/sa/web", "spiffe://example.org/ns/shop/**"},
        Kind{"cfssl", "DNS:orders.example.org", "DNS:web.example.org", "dns:web.example.org"}),
    [](const auto& kind) { return std::string(kind.param.name); });

// Debian 12's cfssl makes a DNS name of a SPIFFE ID, or leaves it out: that must not go unnoticed.
class IssuingCaByCfssl : public IssuingCa {};

TEST_P(IssuingCaByCfssl, GivesSpiffeIdsOrIsRefused) {
  due_in_half_an_hour();
  authority("init");
  const Finished finished = renew("web", web_settings());
  const Finished version = run({"cfssl", "version"});
  if (version.out.contains("1.2.")) {
    EXPECT_EQ(finished.status, 1);
    EXPECT_TRUE(finished.err.contains("not for URI:spiffe://example.org/ns/shop/sa/web"))
        << finished.err;
    EXPECT_FALSE(std::filesystem::exists(dir / "web/web.key"));
    return;
  }
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_TRUE(std::filesystem::exists(dir / "web/web.key"));
}

INSTANTIATE_TEST_SUITE_P(By, IssuingCaByCfssl,
                         ::testing::Values(Kind{"cfssl", "",
                                                "URI:spiffe://example.org/ns/shop/sa/web", ""}),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace sallyport::test
