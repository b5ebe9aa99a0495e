// Certificates, anchors and CRLs change while traffic flows: new handshakes see the new state at
// once, open connections stay, and no handshake fails for the moment in between.
#include <atomic>
#include <filesystem>
#include <thread>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class CredentialRotation : public Scenario {
 protected:
  Backend backend{echo()};

  bool credentials_current() const {
    return gateway->metrics().sum("config_source_current", {{"source", "credentials"}}) == 1;
  }
  std::uint64_t serial_seen() const {
    const TlsClient tls = connect();
    return tls.connected() ? tls.server_serial() : 0;
  }
};

TEST_F(CredentialRotation, OfTheCertificateLosesNoConnection) {
  start_for(backend);
  TlsClient live = connect();
  ASSERT_TRUE(live.echo("hello"));

  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::atomic<int> bad = 0;
  std::thread traffic([&] {
    while (!stop) ++(served() ? good : bad);
  });
  std::uint64_t last = 0;
  for (int rotation = 0; rotation < 4; ++rotation) {
    const TestCertificate next = root.issue({.cn = "gateway", .dns = {"orders.example.org"}});
    // Two files cannot change in one moment: in between they do not match, and the old pair stays.
    const bool key_first = rotation % 2 == 0;
    if (key_first) dir.replace("gateway.key", next.key_pem, 0600);
    dir.replace("gateway.pem", next.chain_pem);
    if (!key_first) dir.replace("gateway.key", next.key_pem, 0600);
    wait_until("the new certificate is shown", [&] { return serial_seen() == next.serial; });
    last = next.serial;
  }
  const int so_far = good;
  wait_until("traffic goes on", [&] { return good > so_far + 3; });
  stop = true;
  traffic.join();
  EXPECT_EQ(bad, 0);
  EXPECT_EQ(serial_seen(), last);
  EXPECT_EQ(reloads("failure"), 0) << "one may be there some time before the other";
  for (const LogLine& line : gateway->operational_log()) {
    EXPECT_NE(line.at("level"), "error") << line.at("message");
  }
  EXPECT_TRUE(live.echo("still here"));
}

// A list behind a byte order mark was no list, and no error: revocation was off.
TEST_F(CredentialRotation, OfACrlBehindAByteOrderMarkRevokesAllTheSame) {
  const std::string list = root.crl({client.serial});
  dir.write("clients.crl", root.crl());
  start_for(backend, {"--crl", (dir / "clients.crl").string()});
  ASSERT_TRUE(served());
  const double before = reloads("success");
  dir.replace("clients.crl", "\xef\xbb\xbf" + list);
  wait_reload("success", before);
  expect_refused(as(client), "certificate_revoked", kCertificateRevoked);
}

TEST_F(CredentialRotation, OfACrlToAFileThatHoldsNoneKeepsTheOldOne) {
  dir.write("clients.crl", root.crl({client.serial}));
  start_for(backend, {"--crl", (dir / "clients.crl").string()});
  for (const std::string_view text : {"", "# nothing yet\n", "<html>log in</html>\n"}) {
    const double before = reloads("failure");
    const std::size_t from = gateway->err_size();
    dir.replace("clients.crl", text);
    wait_reload("failure", before);
    gateway->wait_err({"clients.crl"}, from);
    expect_refused(as(client), "certificate_revoked", kCertificateRevoked);
  }
}

TEST_F(CredentialRotation, OfAKeyThatDoesNotFitKeepsTheOldPairAndSaysWhy) {
  start_for(backend);
  const double before = reloads("failure");
  const std::size_t from = gateway->err_size();
  dir.replace("gateway.key", root.issue({}).key_pem, 0600);
  wait_reload("failure", before);
  gateway->wait_err({"gateway."}, from);
  EXPECT_EQ(serial_seen(), server.serial);
  EXPECT_TRUE(served());
}

TEST_F(CredentialRotation, RefusesAKeyThatOthersCanRead) {
  start_for(backend);
  const double before = reloads("failure");
  const std::size_t from = gateway->err_size();
  const TestCertificate next = root.issue({.dns = {"orders.example.org"}});
  dir.replace("gateway.key", next.key_pem, 0644);
  dir.replace("gateway.pem", next.chain_pem);
  wait_reload("failure", before);
  gateway->wait_err({"gateway.key"}, from);
  EXPECT_EQ(serial_seen(), server.serial);
  EXPECT_FALSE(credentials_current());

  // The same bytes again: nothing but the mode was wrong.
  std::filesystem::permissions(dir / "gateway.key", std::filesystem::perms(0600));
  wait_until("the new certificate is shown", [&] { return serial_seen() == next.serial; });
  wait_until("the metric says so", [&] { return credentials_current(); });
}

TEST_F(CredentialRotation, OfAnchorsAddsAndRemoves) {
  const TestAuthority second("Second Root");
  const TestCertificate newcomer = second.issue({.spiffe = {"spiffe://example.org/new"}});
  start_for(backend);
  TlsClient live = connect();
  ASSERT_TRUE(live.echo("hello"));
  expect_refused(as(newcomer), "certificate_authority_invalid", kUnknownCa);

  double before = reloads("success");
  dir.replace("ca.pem", root.cert_pem() + second.cert_pem());
  wait_reload("success", before);
  EXPECT_TRUE(served(as(newcomer)));
  EXPECT_TRUE(served());
  EXPECT_TRUE(live.echo("still here"));

  before = reloads("success");
  dir.replace("ca.pem", second.cert_pem());
  wait_reload("success", before);
  EXPECT_TRUE(served(as(newcomer)));
  expect_refused(as(client), "certificate_authority_invalid", kUnknownCa);
  live.receive_all();
  EXPECT_EQ(live.alert(), kUnknownCa);
}

TEST_F(CredentialRotation, OfACrlRevokesFromThenOn) {
  const std::string crl = dir.write("crl.pem", root.crl());
  start_for(backend, {"--crl", crl});
  TlsClient live = connect();
  ASSERT_TRUE(live.echo("hello"));
  double before = reloads("success");
  dir.replace("crl.pem", root.crl({client.serial}));
  wait_reload("success", before);
  expect_refused(as(client), "certificate_revoked", kCertificateRevoked);
  live.receive_all();
  EXPECT_EQ(live.alert(), kCertificateRevoked);
  before = reloads("success");
  dir.replace("crl.pem", root.crl());
  wait_reload("success", before);
  EXPECT_TRUE(served());
}

TEST_F(CredentialRotation, KeepsTheLastStateWhenAFileIsBrokenOrGone) {
  const std::string crl = dir.write("crl.pem", root.crl());
  start_for(backend, {"--crl", crl});
  for (const char* name : {"gateway.pem", "ca.pem", "crl.pem"}) {
    const double before = reloads("failure");
    const std::size_t from = gateway->err_size();
    dir.replace(name, "-----BEGIN CERTIFICATE-----\nnonsense\n");
    wait_reload("failure", before);
    gateway->wait_err({name}, from);
    EXPECT_TRUE(served()) << name;
    const double good = reloads("success");
    dir.replace("gateway.pem", server.chain_pem);
    dir.replace("ca.pem", root.cert_pem());
    dir.replace("crl.pem", root.crl());
    wait_reload("success", good);
  }
  EXPECT_TRUE(served());
}

TEST_F(CredentialRotation, OfACrlSignedByAnotherAuthorityIsRefused) {
  const std::string crl = dir.write("crl.pem", root.crl({client.serial}));
  start_for(backend, {"--crl", crl});
  expect_refused(as(client), "certificate_revoked", kCertificateRevoked);
  // The right issuer's name, another key: it must not end a revocation.
  const TestAuthority impostor("Mesh Root");
  dir.replace("crl.pem", impostor.crl());
  gateway->signal(SIGHUP);
  const double before = reloads("failure") + reloads("success");
  eventually([&] { return reloads("failure") + reloads("success") > before; },
             std::chrono::seconds(5));
  TlsClient tls = connect();
  EXPECT_EQ(tls.receive(1), "");
  EXPECT_EQ(tls.end(), TlsEnd::kAlert);
}

}  // namespace
}  // namespace sallyport::test
