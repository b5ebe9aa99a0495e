// Each row of the manual's table of refusals: the word in the log and in the metrics, and the
// alert that reaches the client.
#include <gmock/gmock.h>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

using std::chrono::hours;
using testing::AllOf;
using testing::HasSubstr;

class Refusal : public Scenario {
 protected:
  Backend backend{echo()};

  void TearDown() override {
    // None of them may have reached the backend.
    EXPECT_EQ(backend.accepted(), 0);
    Scenario::TearDown();
  }
};

TEST_F(Refusal, OfAClientWithoutACertificate) {
  start_for(backend);
  ClientOptions anonymous = as(client);
  anonymous.certificate.reset();
  expect_refused(anonymous, "certificate_required", kCertificateRequired);
}

TEST_F(Refusal, OfAnExpiredCertificateNamesItInTheLog) {
  start_for(backend);
  const TestCertificate expired =
      root.issue({.spiffe = {kWeb}, .not_before = hours(-3), .not_after = hours(-1)});
  expect_refused(as(expired), "certificate_expired", kCertificateExpired);
  const LogLine line = gateway->wait_log({{"reason", "certificate_expired"}});
  EXPECT_TRUE(line.contains("not_after"));
  EXPECT_NE(line.at("issuer").find("Mesh Root"), std::string::npos);
  char serial[32];
  std::snprintf(serial, sizeof serial, "%lX", static_cast<unsigned long>(expired.serial));
  EXPECT_NE(line.at("serial").find(serial), std::string::npos) << line.at("serial");
}

// The operator of the client is found by what its certificate says, whatever was wrong with it.
TEST_F(Refusal, NamesTheLeafThatWasPresentedAndWhatWasOffered) {
  const TestAuthority stranger("Other Root");
  const std::string crl = dir.write("crl.pem", root.crl({client.serial}));
  start_for(backend, {"--crl", crl});
  const auto refused = [&](const TestCertificate& certificate, const std::string& reason) {
    ClientOptions options = as(certificate);
    options.alpn = {"h2", "http/1.1"};
    TlsClient tls = connect(std::move(options));
    tls.receive(1);
    const LogLine line = gateway->wait_log({{"client", tls.local_address()}});
    EXPECT_EQ(line.at("reason"), reason);
    EXPECT_EQ(line.at("sni"), "orders.example.org");
    EXPECT_EQ(line.at("alpn_offered"), R"(["h2","http/1.1"])");
    return line.at("presented");
  };
  EXPECT_THAT(refused(root.issue({.cn = "old",
                                  .dns = {"old.example.org"},
                                  .spiffe = {kWeb},
                                  .not_before = hours(-3),
                                  .not_after = hours(-1)}),
                      "certificate_expired"),
              AllOf(HasSubstr(kWeb), HasSubstr(R"("dns":["dns:old.example.org"])"),
                    HasSubstr(R"("subject":"CN=old")"), HasSubstr(R"("issuer":"CN=Mesh Root")"),
                    HasSubstr(R"("verified":false)")));
  EXPECT_THAT(refused(client, "certificate_revoked"),
              AllOf(HasSubstr(kWeb), HasSubstr(R"("verified":false)")));
  EXPECT_THAT(
      refused(stranger.issue({.cn = "other", .spiffe = {kWeb}}), "certificate_authority_invalid"),
      AllOf(HasSubstr(R"("subject":"CN=other")"), HasSubstr(R"("issuer":"CN=Other Root")"),
            HasSubstr(R"("verified":false)")));
  EXPECT_THAT(refused(root.issue({.cn = "bank", .spiffe = {"spiffe://example.com/bank"}}),
                      "not_authorized"),
              AllOf(HasSubstr("spiffe://example.com/bank"), HasSubstr(R"("subject":"CN=bank")"),
                    HasSubstr(R"("verified":true)")));
}

TEST_F(Refusal, OfAnExpiredIntermediate) {
  const TestAuthority issuing =
      root.intermediate("issuing", KeyType::kEcdsaP256, std::chrono::hours(-1));
  start_for(backend);
  expect_refused(as(issuing.issue({.spiffe = {kWeb}})), "certificate_expired", kCertificateExpired);
}

TEST_F(Refusal, OfACertificateNotYetValid) {
  start_for(backend);
  expect_refused(as(root.issue({.spiffe = {kWeb}, .not_before = hours(1)})),
                 "certificate_not_yet_valid", kBadCertificate);
}

TEST_F(Refusal, OfARevokedCertificate) {
  const std::string crl = dir.write("crl.pem", root.crl({client.serial}));
  start_for(backend, {"--crl", crl});
  expect_refused(as(client), "certificate_revoked", kCertificateRevoked);
}

TEST_F(Refusal, OfALeafWhoseIssuerHasNoCrl) {
  const TestAuthority issuing = root.intermediate();
  const std::string crl = dir.write("crl.pem", root.crl());
  start_for(backend, {"--crl", crl});
  expect_refused(as(issuing.issue({.spiffe = {kWeb}})), "crl_unavailable", kUnknownCa);
}

TEST_F(Refusal, OfARevokedIntermediate) {
  const TestAuthority issuing = root.intermediate();
  const std::string of_root = dir.write("root.crl", root.crl({issuing.certificate().serial}));
  const std::string of_issuing = dir.write("issuing.crl", issuing.crl());
  start_for(backend, {"--crl", of_root, "--crl", of_issuing});
  expect_refused(as(issuing.issue({.spiffe = {kWeb}})), "certificate_revoked", kCertificateRevoked);
}

TEST_F(Refusal, WhenTheCrlHasExpired) {
  const TestAuthority other("Other Root");
  start_for(backend, {"--ca", dir.write("both.pem", root.cert_pem() + other.cert_pem()), "--crl",
                      dir.write("crl.pem", root.crl()), "--crl",
                      dir.write("lapsed.pem", other.crl({}, hours(-1)))});
  expect_refused(as(other.issue({.spiffe = {kWeb}})), "crl_expired", kUnknownCa);
}

TEST_F(Refusal, OfAnUnknownAuthority) {
  const TestAuthority stranger("Other Root");
  start_for(backend);
  expect_refused(as(stranger.issue({.spiffe = {kWeb}})), "certificate_authority_invalid",
                 kUnknownCa);
}

TEST_F(Refusal, OfAnAuthorityWithTheRightNameAndAnotherKey) {
  const TestAuthority impostor("Mesh Root");
  start_for(backend);
  TlsClient tls = connect(as(impostor.issue({.spiffe = {kWeb}})));
  tls.receive(1);
  EXPECT_EQ(tls.end(), TlsEnd::kAlert);
  const LogLine line = gateway->wait_log({{"client", tls.local_address()}});
  EXPECT_TRUE(line.at("reason") == "certificate_authority_invalid" ||
              line.at("reason") == "certificate_verification_failed")
      << line.at("reason");
}

TEST_F(Refusal, OfASelfSignedCertificate) {
  start_for(backend);
  expect_refused(as(self_signed({.spiffe = {kWeb}})), "certificate_authority_invalid", kUnknownCa);
}

TEST_F(Refusal, OfAChainWithoutItsIntermediate) {
  TestCertificate bare = root.intermediate().issue({.spiffe = {kWeb}});
  bare.chain_pem = bare.cert_pem;
  start_for(backend);
  expect_refused(as(bare), "certificate_authority_invalid", kUnknownCa);
}

TEST_F(Refusal, OfCertificatesForAnotherPurpose) {
  start_for(backend);
  for (const Eku eku : {Eku::kServerAuth, Eku::kOther}) {
    expect_refused(as(root.issue({.spiffe = {kWeb}, .eku = eku})), "certificate_purpose_invalid",
                   kUnsupportedCertificate);
  }
}

TEST_F(Refusal, OfCertificatesWhoseSpiffeIdIsMalformed) {
  start_for(backend, {"--allow-any-verified"});
  expect_refused(as(root.issue({.spiffe = {kWeb, "https://example.org/"}})),
                 "certificate_malformed", kBadCertificate);
  expect_refused(as(root.issue({.spiffe = {kWeb, "spiffe://example.org/other"}})),
                 "certificate_malformed", kBadCertificate);
  expect_refused(as(root.issue({.spiffe = {kWeb}, .ca = true})), "certificate_malformed",
                 kBadCertificate);
  for (const char* id : {"spiffe://example.org/a%2fb", "spiffe://example.org/a//b",
                         "spiffe://example.org/a/./b", "spiffe://example.org/../b"}) {
    expect_refused(as(root.issue({.spiffe = {id}})), "certificate_malformed", kBadCertificate);
  }
}

TEST_F(Refusal, OfAnIdentityThatNoRuleAllows) {
  start_for(backend, {"--allow", "spiffe://example.org/ns/shop/sa/*"});
  const TestCertificate other = root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/web"}});
  expect_refused(as(other), "not_authorized", kAccessDenied);
  const LogLine line = gateway->wait_log({{"reason", "not_authorized"}});
  EXPECT_EQ(line.at("identity"), "spiffe://example.org/ns/bank/sa/web");
  EXPECT_EQ(line.at("route"), "orders");
}

TEST_F(Refusal, OfDnsNamesThatAreNoIdentity) {
  start_for(backend, {"--allow", "dns:*.example.org"});
  for (const std::string& name :
       {std::string("*.example.org"), std::string("web.example.org\0.evil.org", 25),
        std::string("we_b.example.org"), std::string("a.b.example.org")}) {
    expect_refused(as(root.issue({.dns = {name}})), "not_authorized", kAccessDenied);
  }
}

TEST_F(Refusal, OfACommonNameWithoutASan) {
  start_for(backend, {"--allow", "dns:web.example.org"});
  expect_refused(as(root.issue({.cn = "web.example.org"})), "not_authorized", kAccessDenied);
  EXPECT_EQ(gateway->wait_log({{"reason", "not_authorized"}}).at("identity"), "-");
}

TEST_F(Refusal, WhenTheRouteHasNoEndpoint) {
  discover({DiscoveryGroup{{backend.address()}, {{"route", "orders"}, {"state", "down"}}}});
  gateway = std::make_unique<Gateway>(flags(), false);
  expect_ended(as(client), "no_endpoint", kInternalError);
}

TEST_F(Refusal, WhenEveryBackendRefuses) {
  const RefusingAddress one;
  const RefusingAddress two;
  discover({one.address(), two.address()});
  start();
  expect_ended(as(client), "backend_refused", kInternalError);
}

TEST_F(Refusal, WhenTheBackendDoesNotAnswer) {
  const SilentAddress silent;
  discover({silent.address()});
  start({"--connect-timeout", "300ms"});
  expect_ended(as(client), "backend_timeout", kInternalError);
}

using Admission = Scenario;

TEST_F(Admission, OfAnyVerifiedAdmitsACertificateWithoutASan) {
  Backend backend(echo());
  start_for(backend, {"--allow-any-verified"});
  EXPECT_TRUE(served(as(root.issue({.cn = "somebody"}))));
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("identity"), "-");
}

TEST_F(Admission, ByDnsNameMatchesInAnyCase) {
  Backend backend(echo());
  start_for(backend, {"--allow", "dns:*.Batch.example.org"});
  EXPECT_TRUE(served(as(root.issue({.dns = {"NIGHT.batch.Example.org"}}))));
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("identity"), "dns:night.batch.example.org");
}

TEST_F(Admission, UnderAnExpiredCrlThatIsAccepted) {
  Backend backend(echo());
  const TestCertificate revoked = root.issue({.spiffe = {kWeb}});
  const std::string crl = dir.write("crl.pem", root.crl({revoked.serial}, hours(-1)));
  start_for(backend, {"--crl", crl, "--crl-expired", "accept"});
  EXPECT_TRUE(served());
  expect_refused(as(revoked), "certificate_revoked", kCertificateRevoked);
}

}  // namespace
}  // namespace sallyport::test
