// A CRL file must never load with a list dropped in silence. One that an editor had put a byte
// order mark in front of used to: no list was found in it, none was demanded, and revoked clients
// passed.
#include <algorithm>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class RevocationFile : public Scenario {
 protected:
  Backend backend{echo()};
  TestCertificate revoked = root.issue({.cn = "gone", .spiffe = {kWeb}});
  const std::string list = root.crl({revoked.serial});

  Finished check(const std::string& crl) { return run_sallyport(flags({"--crl", crl, "--check"})); }
};

TEST_F(RevocationFile, RevokesWhereverItsBeginStands) {
  discover({backend.address()});
  for (const char* before : {"\xef\xbb\xbf", "\t", " ", "fetched by cron\r\n\xef\xbb\xbf "}) {
    const std::string crl = dir.write("crl.pem", before + list);
    const Finished checked = check(crl);
    EXPECT_EQ(checked.status, 0) << checked.err;
    start({"--crl", crl});
    expect_refused(as(revoked), "certificate_revoked", kCertificateRevoked);
    EXPECT_TRUE(served());
    finish();
  }
}

TEST_F(RevocationFile, RevokesAfterAReloadWhereverItsBeginStands) {
  const std::string crl = dir.write("crl.pem", root.crl());
  start_for(backend, {"--crl", crl});
  EXPECT_TRUE(served(as(revoked)));
  const double before = reloads("success");
  dir.replace("crl.pem", "\xef\xbb\xbf" + list);
  wait_reload("success", before);
  expect_refused(as(revoked), "certificate_revoked", kCertificateRevoked);
  EXPECT_TRUE(served());
}

TEST_F(RevocationFile, IsRefusedWhereAListWouldBeDropped) {
  struct Case {
    std::string text, named;
  };
  const std::string second = std::to_string(1 + std::ranges::count(list, '\n'));
  const Case cases[] = {
      {"", "crl.pem: holds no CRL"},
      {"# " + list, "crl.pem:1: "},
      {list.substr(1), "crl.pem:1: "},
      {list + "----BEGIN X509 CRL-----\n", "crl.pem:" + second + ": "},
      {list + root.cert_pem(), "crl.pem:" + second + ": "},
  };
  discover({backend.address()});
  const std::string crl = dir / "crl.pem";
  for (const Case& bad : cases) {
    dir.replace("crl.pem", bad.text);
    const Finished checked = check(crl);
    EXPECT_EQ(checked.status, 2) << bad.text;
    EXPECT_NE(checked.err.find(bad.named), std::string::npos) << checked.err;
    const Finished started = run_sallyport(flags({"--crl", crl}));
    EXPECT_EQ(started.status, 2) << bad.text;
    EXPECT_NE(started.err.find(bad.named), std::string::npos) << started.err;
  }

  dir.replace("crl.pem", list);
  start({"--crl", crl});
  for (const Case& bad : cases) {
    const double before = reloads("failure");
    const std::size_t from = gateway->err_size();
    dir.replace("crl.pem", bad.text);
    wait_reload("failure", before);
    gateway->wait_err({bad.named}, from);
    TlsClient tls = connect(as(revoked));
    EXPECT_EQ(tls.receive(1), "");
    EXPECT_EQ(tls.end(), TlsEnd::kAlert) << bad.text;
  }
  EXPECT_TRUE(served());
}

TEST_F(RevocationFile, HasASiblingInTrustBundlesWhoseEveryRootCounts) {
  const TestAuthority second("Second Root");
  const TestCertificate newcomer = second.issue({.spiffe = {"spiffe://example.org/new"}});
  const std::string bundle =
      dir.write("both.pem", "\xef\xbb\xbf" + root.cert_pem() + "\xef\xbb\xbf" + second.cert_pem());
  start_for(backend, {"--ca", bundle});
  EXPECT_TRUE(served());
  EXPECT_TRUE(served(as(newcomer)));
}

}  // namespace
}  // namespace sallyport::test
