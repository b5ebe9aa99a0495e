// Certificates with serials and dates that are legal somewhere or have been issued anyway: how they
// are shown, revoked and refused.
#include <openssl/x509.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/e2e/scenario.h"
#include "tests/ktls/trust/certificate_builder.h"
#include "tests/ktls/trust/crl_builder.h"

namespace sallyport::test {
namespace {

struct Serial {
  std::string content;  ///< of the INTEGER in DER
  std::string shown;
};

std::string many(std::string_view text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

class OddCertificates : public Scenario {
 protected:
  OddCertificates() { discover({backend.address()}); }

  TestCertificate issue(ktls::testing::CertificateSpec spec) const {
    TestCertificate made;
    made.key = make_key(KeyType::kEcdsaP256);
    const TestCertificate& issuer = root.certificate();
    spec.key = made.key.get();
    spec.issuer = issuer.x509.get();
    spec.signer = issuer.key.get();
    spec.extensions = {{"subjectAltName", "URI:spiffe://example.org/" + spec.subject}};
    made.x509 = {ktls::testing::make_certificate(spec).release(), X509_free};
    made.cert_pem = to_pem(made.x509.get());
    made.chain_pem = made.cert_pem;
    made.key_pem = to_pem(made.key.get());
    return made;
  }
  // The rows of `path` that have this value.
  bool shows(const std::string& path, const std::string& key, const std::string& value) const {
    return gateway->get(path).body.find("\"" + key + "\":\"" + value + "\"") != std::string::npos;
  }

  Backend backend{echo()};
};

TEST_F(OddCertificates, AreShownAndRevokedByTheirSerial) {
  const std::vector<Serial> serials{
      {std::string(1, '\0'), "0"},
      {"\x01", "01"},
      {"\xff", "-01"},
      {std::string("\x00\x80", 2), "80"},
      {"\x80", "-80"},
      {std::string(20, '\x7f'), many("7F", 20)},
      {"\x80" + std::string(19, '\0'), "-80" + many("00", 19)},
      {std::string(64, '\x7f'), many("7F", 64)},
  };
  const std::string crl = dir.write("root.crl", root.crl());
  start({"--crl", crl, "--end-spread", "0"});
  std::vector<TlsClient> held;
  std::vector<TestCertificate> clients;
  for (const Serial& each : serials) {
    clients.push_back(
        issue({.subject = "c" + std::to_string(clients.size()), .serial = each.content}));
    held.push_back(connect(as(clients.back())));
    ASSERT_TRUE(held.back().echo("hello")) << each.shown;
    EXPECT_TRUE(shows("/peers", "serial", each.shown)) << gateway->get("/peers").body;
  }
  // One after the other: a serial of the other sign is another one.
  ktls::testing::CrlSpec list;
  for (std::size_t i = 0; i < serials.size(); ++i) {
    SCOPED_TRACE(serials[i].shown);
    list.odd_serials.push_back(serials[i].content);
    const double before = reloads("success");
    dir.replace("root.crl",
                ktls::testing::to_pem(ktls::testing::make_crl(root.certificate(), list).get()));
    wait_reload("success", before);
    held[i].receive_all();
    EXPECT_EQ(held[i].alert(), kCertificateRevoked);
    for (std::size_t j = i + 1; j < held.size(); ++j) EXPECT_TRUE(held[j].echo("still here"));
    expect_refused(as(clients[i]), "certificate_revoked", kCertificateRevoked);
    EXPECT_EQ(gateway->wait_log({{"reason", "certificate_revoked"}, {"serial", serials[i].shown}})
                  .at("issuer"),
              "CN=Mesh Root");
    EXPECT_TRUE(shows("/refusals", "serial", serials[i].shown));
  }
}

TEST_F(OddCertificates, AreRefusedForASerialOfMoreThan64Bytes) {
  start();
  for (const Serial& each : std::vector<Serial>{{std::string(65, '\x7f'), many("7F", 65)},
                                                {std::string(130, '\x7f'), "of 130 bytes"}}) {
    expect_refused(as(issue({.subject = "long", .serial = each.content})), "certificate_malformed",
                   kBadCertificate);
    const LogLine line = gateway->wait_log({{"serial", each.shown}});
    EXPECT_EQ(line.at("detail"), "serial number of more than 64 bytes");
    EXPECT_TRUE(shows("/refusals", "serial", each.shown)) << gateway->get("/refusals").body;
  }
}

TEST_F(OddCertificates, MayHaveNoEnd) {
  const TestCertificate endless = issue({.subject = "endless",
                                         .not_before_text = "500101000000Z",
                                         .not_after_text = "99991231235959Z"});
  const std::string crl = dir.write(
      "root.crl",
      ktls::testing::to_pem(
          ktls::testing::make_crl(root.certificate(), {.this_update_text = "500101000000Z",
                                                       .next_update_text = "99991231235959Z"})
              .get()));
  start({"--crl", crl});
  {
    TlsClient held = connect(as(endless));
    ASSERT_TRUE(held.echo("hello"));
    EXPECT_TRUE(shows("/peers", "not_after", "9999-12-31T23:59:59.000Z"))
        << gateway->get("/peers").body;
    const Metrics metrics = gateway->metrics();
    EXPECT_EQ(metrics.sum("peer_certificate_soonest_expiry_timestamp_seconds"), 253402300799.0);
    EXPECT_EQ(metrics.sum("crl_next_update_timestamp_seconds"), 253402300799.0);
    const Finished rehearsed =
        run_sallyport(flags({"--crl", crl, "--check", "--against", "http://" + gateway->admin()}));
    EXPECT_EQ(rehearsed.status, 0) << rehearsed.out << rehearsed.err;
    EXPECT_NE(rehearsed.out.find("of 1 connection of"), std::string::npos) << rehearsed.out;
  }
  EXPECT_TRUE(served(as(endless)));
  const TestCertificate early = issue({.subject = "early",
                                       .not_before_text = "20500101000000Z",
                                       .not_after_text = "99991231235959Z"});
  expect_refused(as(early), "certificate_not_yet_valid", kBadCertificate);
  const TestCertificate never = issue({.subject = "never",
                                       .not_before_text = "99991231235959Z",
                                       .not_after_text = "500101000000Z"});
  expect_refused(as(never), "certificate_not_yet_valid", kBadCertificate);
  EXPECT_TRUE(shows("/refusals", "not_after", "1950-01-01T00:00:00.000Z"))
      << gateway->get("/refusals").body;
  const TestCertificate past = issue(
      {.subject = "past", .not_before_text = "500101000000Z", .not_after_text = "500101000001Z"});
  expect_refused(as(past), "certificate_expired", kCertificateExpired);
}

}  // namespace
}  // namespace sallyport::test
