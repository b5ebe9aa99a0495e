// Servers by their certificates: what our client's side makes of them, and what it tells them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ktls/handshake/client_handshake.h"
#include "ktls/trust/presented_certificate.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/certificate_builder.h"

namespace sallyport::ktls::testing {
namespace {

using Step = ClientHandshake::Step;
using namespace std::chrono_literals;

std::optional<std::string> only_orders(const PeerTrust& trust) {
  for (const std::string& name : trust.identity.dns)
    if (name == "orders.test") return std::nullopt;
  return trust.identity.display() + " is not dns:orders.test";
}

class JudgingServers : public ::testing::TestWithParam<int> {
 protected:
  Step run(const std::shared_ptr<ClientContext>& context, const ServerSetup& setup) {
    client.emplace(context,
                   ClientTerms{.min_version = GetParam() == TLS1_2_VERSION ? RecordVersion::kTls12
                                                                           : RecordVersion::kTls13,
                               .refuse = only_orders});
    ServerSetup by_version = setup;
    by_version.min_version = by_version.max_version = GetParam();
    server.emplace(by_version);
    return shuttle(*client, *server);
  }
  Step run(const test::TestCertificate& certificate) {
    return run(pki.client_context(), {.certificate = &certificate});
  }
  // That of a server with `certificate`, which got `alert`.
  HandshakeFailure refusal_of(const test::TestCertificate& certificate, int alert) {
    if (run(certificate) != Step::kFailed) return {.result = HandshakeResult::kSuccess};
    EXPECT_EQ(server->alert(), alert);
    EXPECT_TRUE(server->failed());
    return client->failure();
  }
  // A certificate of the root's with extensions in OpenSSL's words.
  test::TestCertificate with(std::vector<ExtensionText> extensions) {
    const auto key = test::make_key(test::KeyType::kEcdsaP256);
    const test::TestCertificate& root = pki.authority.certificate();
    extensions.push_back({"subjectAltName", "DNS:orders.test"});
    const X509Ptr x509 = make_certificate({.subject = "orders",
                                           .key = key.get(),
                                           .issuer = root.x509.get(),
                                           .signer = root.key.get(),
                                           .extensions = std::move(extensions)});
    test::TestCertificate made{.x509 = std::shared_ptr<X509>(X509_dup(x509.get()), X509_free),
                               .key = key,
                               .cert_pem = test::to_pem(x509.get()),
                               .chain_pem = test::to_pem(x509.get()),
                               .key_pem = {}};
    return made;
  }

  TestServer pki;
  const test::LeafSpec orders{.cn = "orders", .dns = {"orders.test"}};
  std::optional<ClientHandshake> client;
  std::optional<MemoryServer> server;
};
INSTANTIATE_TEST_SUITE_P(Each, JudgingServers, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

// ---- who is let in

TEST_P(JudgingServers, AcceptsTheNameThatIsWanted) {
  EXPECT_EQ(run(pki.authority.issue(orders)), Step::kDone);
}

TEST_P(JudgingServers, AcceptsWhatHasNoExtendedKeyUsageOrServerAuth) {
  for (const test::Eku eku :
       {test::Eku::kAbsent, test::Eku::kServerAuth, test::Eku::kClientAndServerAuth}) {
    test::LeafSpec spec = orders;
    spec.eku = eku;
    EXPECT_EQ(run(pki.authority.issue(spec)), Step::kDone);
  }
}

// --client-eku is about clients.
TEST_P(JudgingServers, JudgesUsageWhateverIsAskedOfClients) {
  test::LeafSpec spec = orders;
  spec.eku = test::Eku::kAbsent;
  pki.settings.client_eku = ClientEku::kRequire;
  EXPECT_EQ(run(pki.authority.issue(spec)), Step::kDone);
  spec.eku = test::Eku::kClientAuth;
  pki.settings.client_eku = ClientEku::kIgnore;
  EXPECT_EQ(run(pki.authority.issue(spec)), Step::kFailed);
}

TEST_P(JudgingServers, AcceptsAChainWithItsIntermediates) {
  EXPECT_EQ(run(pki.authority.intermediate().issue(orders)), Step::kDone);
}

TEST_P(JudgingServers, AsksAgainForAChainThatIsKnown) {
  const auto certificate = pki.authority.issue(orders);
  const auto context = pki.client_context();
  ASSERT_EQ(run(context, {.certificate = &certificate}), Step::kDone);
  ClientHandshake again(context, {.min_version = RecordVersion::kTls12,
                                  .refuse = [](const PeerTrust&) { return "not today"; }});
  MemoryServer same({.certificate = &certificate});
  ASSERT_EQ(shuttle(again, same), Step::kFailed);
  EXPECT_EQ(again.failure().detail, "not today");
}

// ---- who is not, and what it is told (RFC 8446 6.2)

TEST_P(JudgingServers, RefusesAnotherName) {
  test::LeafSpec spec = orders;
  spec.dns = {"invoices.test"};
  const auto certificate = pki.authority.issue(spec);
  const HandshakeFailure failure = refusal_of(certificate, SSL_AD_BAD_CERTIFICATE);
  EXPECT_EQ(failure.result, HandshakeResult::kNotAuthorized);
  EXPECT_EQ(failure.detail, "dns:invoices.test is not dns:orders.test");
  EXPECT_EQ(failure.issuer, "CN=Test Root");
  EXPECT_FALSE(failure.serial.empty());
  EXPECT_TRUE(failure.not_after);
  ASSERT_TRUE(failure.presented);
  EXPECT_THAT(failure.presented->dns, ::testing::ElementsAre("dns:invoices.test"));
  EXPECT_FALSE(failure.presented->verified) << "it has not proven that it has the key";
  ASSERT_FALSE(failure.steps.empty());
  EXPECT_EQ(failure.steps.front().subject, "chain");
  EXPECT_TRUE(failure.steps.front().passed);
  EXPECT_EQ(failure.steps.back().subject, "rule");
  EXPECT_FALSE(failure.steps.back().passed);
}

TEST_P(JudgingServers, RefusesTheNameWhereItIsNoDnsSan) {
  test::LeafSpec spec = orders;
  spec.cn = "orders.test";
  spec.dns = {};
  EXPECT_EQ(refusal_of(pki.authority.issue(spec), SSL_AD_BAD_CERTIFICATE).detail,
            "- is not dns:orders.test");
  spec.dns = {"*.test"};
  EXPECT_EQ(refusal_of(pki.authority.issue(spec), SSL_AD_BAD_CERTIFICATE).detail,
            "- is not dns:orders.test");
}

TEST_P(JudgingServers, RefusesWhatIsOutOfItsDates) {
  test::LeafSpec spec = orders;
  spec.not_before = -48h;
  spec.not_after = -1h;
  const auto expired = pki.authority.issue(spec);
  const HandshakeFailure failure = refusal_of(expired, SSL_AD_CERTIFICATE_EXPIRED);
  EXPECT_EQ(failure.result, HandshakeResult::kCertificateExpired);
  EXPECT_EQ(failure.issuer, "CN=Test Root");
  EXPECT_FALSE(failure.serial.empty());
  ASSERT_TRUE(failure.not_after);
  EXPECT_LT(*failure.not_after, test_clock());
  ASSERT_TRUE(failure.presented);
  EXPECT_EQ(failure.presented->subject, "CN=orders");
  EXPECT_FALSE(failure.steps.empty());
  spec.not_before = 1h;
  spec.not_after = 48h;
  EXPECT_EQ(refusal_of(pki.authority.issue(spec), SSL_AD_BAD_CERTIFICATE).result,
            HandshakeResult::kCertificateNotYetValid);
}

TEST_P(JudgingServers, RefusesWhatIsRevoked) {
  const auto revoked = pki.authority.issue(orders);
  pki.files.crls = {pki.dir.write("crl.pem", pki.authority.crl({revoked.serial}))};
  EXPECT_EQ(refusal_of(revoked, SSL_AD_CERTIFICATE_REVOKED).result,
            HandshakeResult::kCertificateRevoked);
  EXPECT_EQ(run(pki.authority.issue(orders)), Step::kDone) << "another one of the same list";
  pki.files.crls = {pki.dir.write("crl.pem", pki.authority.crl({}, -1h))};
  EXPECT_EQ(refusal_of(revoked, SSL_AD_UNKNOWN_CA).result, HandshakeResult::kCrlExpired);
}

TEST_P(JudgingServers, RefusesWhatNoAnchorVouchesFor) {
  const test::TestAuthority unknown("Unknown Root");
  EXPECT_EQ(refusal_of(unknown.issue(orders), SSL_AD_UNKNOWN_CA).result,
            HandshakeResult::kCertificateAuthorityInvalid);
  const test::TestAuthority twin;  // of the same name, with another key
  EXPECT_EQ(refusal_of(twin.issue(orders), SSL_AD_UNKNOWN_CA).result,
            HandshakeResult::kCertificateAuthorityInvalid);
  EXPECT_EQ(refusal_of(test::self_signed(orders), SSL_AD_UNKNOWN_CA).result,
            HandshakeResult::kCertificateAuthorityInvalid);
}

TEST_P(JudgingServers, RefusesAChainWithoutItsIntermediates) {
  test::TestCertificate certificate = pki.authority.intermediate().issue(orders);
  certificate.chain_pem = certificate.cert_pem;
  EXPECT_EQ(refusal_of(certificate, SSL_AD_UNKNOWN_CA).result,
            HandshakeResult::kCertificateAuthorityInvalid);
}

TEST_P(JudgingServers, RefusesACertificateThatIsNoServers) {
  for (const test::Eku eku : {test::Eku::kClientAuth, test::Eku::kOther}) {
    test::LeafSpec spec = orders;
    spec.eku = eku;
    EXPECT_EQ(refusal_of(pki.authority.issue(spec), SSL_AD_UNSUPPORTED_CERTIFICATE).result,
              HandshakeResult::kCertificatePurposeInvalid);
  }
  // OpenSSL's purpose of a server would take it.
  const auto gated = with({{"extendedKeyUsage", "msSGC"}});
  EXPECT_EQ(refusal_of(gated, SSL_AD_UNSUPPORTED_CERTIFICATE).detail,
            "extendedKeyUsage without serverAuth");
}

TEST_P(JudgingServers, RefusesAKeyThatMayNotSign) {
  const auto signs = with({{"keyUsage", "critical,digitalSignature"}});
  EXPECT_EQ(run(signs), Step::kDone) << client->failure().detail;
  const auto agrees = with({{"keyUsage", "critical,keyAgreement"}});
  ASSERT_EQ(run(agrees), Step::kFailed);
  if (GetParam() == TLS1_2_VERSION) return;  // OpenSSL's server does not use such a key there
  EXPECT_EQ(server->alert(), SSL_AD_UNSUPPORTED_CERTIFICATE);
  EXPECT_EQ(client->failure().result, HandshakeResult::kCertificatePurposeInvalid);
  EXPECT_EQ(client->failure().detail, "keyUsage without digitalSignature");
}

TEST_P(JudgingServers, RefusesAMalformedSpiffeId) {
  test::LeafSpec spec = orders;
  spec.spiffe = {"spiffe://example.org/a", "spiffe://example.org/b"};
  EXPECT_EQ(refusal_of(pki.authority.issue(spec), SSL_AD_BAD_CERTIFICATE).result,
            HandshakeResult::kCertificateMalformed);
}

TEST_P(JudgingServers, BelievesABundleForItsTrustDomainAlone) {
  pki.files.ca.front().domain = "example.org";
  test::LeafSpec spec = orders;
  spec.spiffe = {"spiffe://example.com/orders"};
  EXPECT_EQ(refusal_of(pki.authority.issue(spec), SSL_AD_UNKNOWN_CA).result,
            HandshakeResult::kCertificateAuthorityInvalid);
  spec.spiffe = {"spiffe://example.org/orders"};
  EXPECT_EQ(refusal_of(pki.authority.issue(spec), SSL_AD_BAD_CERTIFICATE).detail,
            "spiffe://example.org/orders is not dns:orders.test")
      << "it vouches for no DNS names";
}

TEST_P(JudgingServers, FailsClosedWhereTheJudgeIsOutOfMemory) {
  const auto certificate = pki.authority.issue(orders);
  ClientHandshake ours(
      pki.client_context(),
      {.min_version = RecordVersion::kTls12,
       .refuse = [](const PeerTrust&) -> std::optional<std::string> { throw std::bad_alloc(); }});
  MemoryServer peer({.certificate = &certificate});
  ASSERT_EQ(shuttle(ours, peer), Step::kFailed);
  EXPECT_EQ(ours.failure().result, HandshakeResult::kUnknownFailure);
  EXPECT_EQ(peer.alert(), SSL_AD_INTERNAL_ERROR);
}

// ---- certificates that are expensive to decode

TEST_P(JudgingServers, RefusesMoreCertificatesThanAChainHas) {
  const auto certificate = pki.authority.issue(orders);
  const std::vector<const test::TestCertificate*> nine(9, &certificate);
  EXPECT_EQ(run(pki.client_context(), {.certificate = &certificate, .more_of_chain = nine}),
            Step::kDone);
  const std::vector<const test::TestCertificate*> ten(10, &certificate);
  ASSERT_EQ(run(pki.client_context(), {.certificate = &certificate, .more_of_chain = ten}),
            Step::kFailed);
  EXPECT_EQ(client->failure().detail, "more than 10 certificates");
}

TEST_P(JudgingServers, RefusesCertificatesThatAreTooLarge) {
  test::LeafSpec spec = orders;
  for (int i = 0; i < 1'700; ++i)
    spec.dns.push_back("name-" + std::to_string(10'000 + i) + ".example.org");
  ASSERT_EQ(run(pki.authority.issue(spec)), Step::kFailed);
  EXPECT_EQ(to_string(client->failure().result), "unexpected_message") << client->failure().detail;
  EXPECT_EQ(server->alert(), SSL_AD_ILLEGAL_PARAMETER);
}

}  // namespace
}  // namespace sallyport::ktls::testing
