#include "gateway/run/credentials_review.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>

#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Effect = Finding::Effect;

class CredentialsReviewTest : public ::testing::Test {
 protected:
  CredentialsReviewTest() {
    present(root_.issue({.cn = "gateway", .dns = {"orders.test"}}));
    trust(root_.cert_pem());
  }

  void present(const test::TestCertificate& certificate, const std::string& name = "tls") {
    credentials_.pairs.push_back(
        {files_.write(name + ".crt", certificate.chain_pem).string(),
         files_.write_secret(name + ".key", certificate.key_pem).string()});
  }
  void present_only(const test::TestCertificate& certificate) {
    credentials_.pairs.clear();
    present(certificate);
  }
  void trust(const std::string& pem, std::optional<std::string> domain = std::nullopt) {
    const std::string name = "ca" + std::to_string(credentials_.ca.size()) + ".crt";
    credentials_.ca.push_back({std::move(domain), files_.write(name, pem).string()});
  }
  void revoke(const std::string& list) {
    const std::string name = std::to_string(credentials_.crls.size()) + ".crl";
    credentials_.crls.push_back(files_.write(name, list).string());
  }

  std::shared_ptr<const ktls::Credentials> load() const {
    return ktls::Credentials::load(credentials_, settings_).value();
  }
  std::vector<Finding> review(std::chrono::seconds later = 0s, PresentedTo whom = {}) const {
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    return review_credentials(*load(), now + later, whom);
  }
  static Policy::Pointer policy(const std::string& routes) {
    return parse_policy(R"({"routes": {)" + routes + "}}", "p").value();
  }
  std::vector<Finding> trust_for(const std::string& routes) const {
    return review_trust(*load(), *policy(routes));
  }
  std::vector<Finding> names_for(const std::string& routes) const {
    return review_names(*load(), *policy(routes));
  }

  const test::TestAuthority root_{"Root"};
  const test::TestAuthority other_{"Other"};
  test::TempDir files_;
  ktls::CredentialFiles credentials_;
  ktls::HandshakeSettings settings_;
};

TEST_F(CredentialsReviewTest, FindsNothingWhereNothingIsWrong) {
  EXPECT_THAT(review(), IsEmpty());
}

TEST_F(CredentialsReviewTest, FindsOurCertificateOutsideOfItsDates) {
  EXPECT_THAT(join(review(25h), Effect::kRefusesAll), HasSubstr("CN=gateway expired at "));
  present_only(root_.issue({.dns = {"orders.test"}, .not_before = 1h}));
  EXPECT_THAT(join(review(), Effect::kRefusesAll), HasSubstr("is not valid before "));
}

TEST_F(CredentialsReviewTest, WarnsOfACertificateThatExpiresSoon) {
  EXPECT_THAT(join(review(22h), Effect::kNoneYet), HasSubstr("expires at "));
  EXPECT_EQ(join(review(22h), Effect::kRefusesAll), "");
}

TEST_F(CredentialsReviewTest, FindsACertificateThatIsForClientsOnly) {
  present_only(root_.issue({.dns = {"orders.test"}, .eku = test::Eku::kClientAuth}));
  EXPECT_THAT(join(review(), Effect::kRefusesAll), HasSubstr("lacks serverAuth"));
}

TEST_F(CredentialsReviewTest, FindsACertificateForBackendsThatIsForServersOnly) {
  const PresentedTo both{.clients = true, .backends = true};
  EXPECT_THAT(review(0s, both), IsEmpty());
  present_only(root_.issue({.dns = {"orders.test"}, .eku = test::Eku::kServerAuth}));
  EXPECT_THAT(join(review(0s, both), Effect::kRefusesSome), HasSubstr("lacks clientAuth"));
  EXPECT_EQ(join(review(0s, both), Effect::kRefusesAll), "") << "clients are served";
  EXPECT_THAT(review(), IsEmpty()) << "no backend gets it";
}

TEST_F(CredentialsReviewTest, TakesACertificateForClientsOnlyWhereOnlyBackendsGetIt) {
  present_only(root_.issue({.dns = {"orders.test"}, .eku = test::Eku::kClientAuth}));
  EXPECT_THAT(review(0s, {.clients = false, .backends = true}), IsEmpty());
}

TEST_F(CredentialsReviewTest, OfTwoCertificatesABadOneRefusesSomeClientsOnly) {
  present(root_.issue(
              {.dns = {"orders.test"}, .not_after = -1min, .key_type = test::KeyType::kRsa2048}),
          "rsa");
  EXPECT_THAT(join(review(), Effect::kRefusesSome), HasSubstr("expired at "));
  EXPECT_EQ(join(review(), Effect::kRefusesAll), "");
}

TEST_F(CredentialsReviewTest, FindsALeafWithoutItsIntermediate) {
  const test::TestAuthority issuing = root_.intermediate("Issuing");
  test::TestCertificate leaf = issuing.issue({.dns = {"orders.test"}});
  present_only(leaf);
  EXPECT_THAT(review(), IsEmpty());

  leaf.chain_pem = leaf.cert_pem;
  present_only(leaf);
  EXPECT_THAT(join(review(), Effect::kNoneYet), HasSubstr("clients must know CN=Issuing"));
  trust(root_.cert_pem() + issuing.cert_pem());
  EXPECT_THAT(join(review(), Effect::kRefusesSome), HasSubstr("lacks its intermediate CN=Issuing"));
  EXPECT_EQ(join(review(), Effect::kRefusesAll), "") << "clients with the same bundle are served";
}

TEST_F(CredentialsReviewTest, ComparesNamesAsRfc5280Does) {
  const test::TestAuthority issuing = root_.intermediate("Issuing CA");
  test::TestCertificate leaf = issuing.issue({.dns = {"orders.test"}});
  const std::string same = "issuing  ca";
  X509_NAME* const issuer = X509_get_issuer_name(leaf.x509.get());
  X509_NAME_ENTRY_free(X509_NAME_delete_entry(issuer, 0));
  X509_NAME_add_entry_by_txt(issuer, "CN", V_ASN1_PRINTABLESTRING,
                             reinterpret_cast<const unsigned char*>(same.c_str()), -1, -1, 0);
  X509_sign(leaf.x509.get(), issuing.certificate().key.get(), EVP_sha256());
  leaf.chain_pem = test::to_pem(leaf.x509.get()) + issuing.cert_pem();
  present_only(leaf);
  EXPECT_THAT(review(), IsEmpty());
}

TEST_F(CredentialsReviewTest, FindsAnIntermediateBehindOurLeafThatHasExpired) {
  const test::TestAuthority issuing =
      root_.intermediate("Issuing", test::KeyType::kEcdsaP256, -1min);
  present_only(issuing.issue({.dns = {"orders.test"}}));
  EXPECT_THAT(join(review(), Effect::kRefusesSome), HasSubstr("tls.crt: CN=Issuing expired at "));
  EXPECT_EQ(join(review(), Effect::kRefusesAll), "") << "clients may know a newer one";
}

TEST_F(CredentialsReviewTest, FindsAnchorsThatHaveExpired) {
  trust(other_.intermediate("Short").cert_pem() + other_.cert_pem());
  const auto expired = 24h * 365 * 100;
  EXPECT_THAT(join(review(expired), Effect::kRefusesAll), HasSubstr("CN=Root expired at "));
  EXPECT_THAT(join(review(25h), Effect::kRefusesSome), HasSubstr("CN=Short expired at "));
}

TEST_F(CredentialsReviewTest, WarnsOfAnExpiredAnchorBesideItsRenewal) {
  trust(test::TestAuthority("Root", test::KeyType::kEcdsaP256, -1h).cert_pem());
  EXPECT_THAT(join(review(), Effect::kNoneYet), HasSubstr("ca1.crt: CN=Root expired at "));
  EXPECT_EQ(join(review(), Effect::kRefusesSome), "");
}

TEST_F(CredentialsReviewTest, TakesACrossSignedCopyForNoRenewalOfTheOnlyAnchor) {
  const test::TestAuthority expired("Old", test::KeyType::kEcdsaP256, -1h);
  credentials_.ca.clear();
  trust(expired.cert_pem() + root_.intermediate("Old").cert_pem());
  EXPECT_THAT(join(review(), Effect::kRefusesAll), HasSubstr("CN=Old expired at "));
}

TEST_F(CredentialsReviewTest, SaysOnceWhatABundleHoldsTwice) {
  const test::TestAuthority expired("Old", test::KeyType::kEcdsaP256, -1h);
  trust(expired.cert_pem() + expired.cert_pem());
  EXPECT_THAT(review(), SizeIs(1));
}

TEST_F(CredentialsReviewTest, FindsAnIssuerWithoutACrl) {
  revoke(other_.crl());
  EXPECT_THAT(join(review(), Effect::kRefusesAll), HasSubstr("ca0.crt: CN=Root: has no CRL"));
  trust(other_.cert_pem());
  EXPECT_THAT(join(review(), Effect::kRefusesSome), HasSubstr("ca0.crt: CN=Root: has no CRL"));
  revoke(root_.crl());
  EXPECT_THAT(review(), IsEmpty());
}

TEST_F(CredentialsReviewTest, FindsAnIssuerBelowTheAnchorWithoutACrl) {
  const test::TestAuthority issuing = root_.intermediate("Issuing");
  trust(issuing.cert_pem() + root_.cert_pem());
  revoke(root_.crl());
  EXPECT_THAT(join(review(), Effect::kRefusesAll), HasSubstr("CN=Issuing: has no CRL"));
  revoke(root_.intermediate("Sent by clients").crl());
  EXPECT_EQ(join(review(), Effect::kRefusesAll), "");
  EXPECT_THAT(join(review(), Effect::kRefusesSome), HasSubstr("CN=Issuing: has no CRL"));
  revoke(issuing.crl());
  EXPECT_THAT(review(), IsEmpty());
}

TEST_F(CredentialsReviewTest, FindsAReKeyedAnchorWhoseNewKeyHasNoCrl) {
  const test::TestAuthority renewed("Root");
  trust(renewed.cert_pem());
  revoke(root_.crl());
  EXPECT_THAT(join(review(), Effect::kRefusesSome), HasSubstr("ca1.crt: CN=Root: has no CRL"));
  revoke(renewed.crl());
  EXPECT_THAT(review(), IsEmpty());
}

TEST_F(CredentialsReviewTest, TakesTheCrossSignedCopyOfAnAnchorForNoIntermediate) {
  const test::TestAuthority copy = root_.intermediate("Other");
  trust(copy.cert_pem() + other_.cert_pem());
  revoke(root_.crl());
  EXPECT_EQ(join(review(), Effect::kRefusesAll), "");
  EXPECT_THAT(join(review(), Effect::kRefusesSome), HasSubstr("CN=Other: has no CRL"));
}

TEST_F(CredentialsReviewTest, FindsACrlThatHasLapsed) {
  revoke(root_.crl({}, 20h));
  EXPECT_THAT(review(), IsEmpty());
  EXPECT_THAT(join(review(20h - 1min), Effect::kNoneYet),
              HasSubstr("the CRL of CN=Root lapses at "));
  EXPECT_THAT(join(review(20h), Effect::kRefusesAll), HasSubstr("lapsed at "));
  settings_.accept_expired_crl = true;
  EXPECT_EQ(join(review(20h), Effect::kRefusesAll), "");
  EXPECT_THAT(join(review(20h), Effect::kNoneYet), HasSubstr("is still used"));
}

TEST_F(CredentialsReviewTest, FindsACrlThatHasLapsedWhoseIssuerIsInNoBundle) {
  revoke(root_.crl());
  revoke(other_.crl({}, -1min));
  EXPECT_THAT(join(review(), Effect::kRefusesSome),
              HasSubstr("1.crl: the CRL of CN=Other lapsed at "));
}

TEST_F(CredentialsReviewTest, SaysNothingOfACrlThatALaterOneHasReplaced) {
  revoke(root_.crl({}, -24h));
  revoke(root_.crl({}, 1h));
  revoke(root_.crl({}, 24h, -1h));
  EXPECT_THAT(review(), IsEmpty());
}

TEST_F(CredentialsReviewTest, FindsUnscopedTrustBesideSeveralTrustDomains) {
  EXPECT_THAT(join(trust_for(R"("r": {"allow": ["spiffe://a.test/x", "spiffe://b.test/x"]})"),
                   Effect::kRefusesAll),
              HasSubstr("a.test, b.test"));
}

TEST_F(CredentialsReviewTest, FindsPatternsThatNoBundleVouchesForAndBundlesThatNoneNeeds) {
  credentials_.ca.clear();
  trust(root_.cert_pem(), "a.test");
  trust(other_.cert_pem(), "b.test");
  const auto mixed =
      trust_for(R"("r": {"allow": ["spiffe://a.test/x", "spiffe://c.test/x", "dns:d.test"]})");
  EXPECT_THAT(join(mixed, Effect::kRefusesSome), HasSubstr("spiffe://c.test/x of route r"));
  EXPECT_THAT(join(mixed, Effect::kRefusesSome), HasSubstr("dns:d.test of route r"));
  EXPECT_THAT(join(mixed, Effect::kNoneYet), HasSubstr("--ca b.test="));
  EXPECT_EQ(join(mixed, Effect::kRefusesAll), "");
  EXPECT_THAT(join(trust_for(R"("r": {"allow": ["spiffe://c.test/x"]})"), Effect::kRefusesAll),
              HasSubstr("spiffe://c.test/x"));
  EXPECT_THAT(trust_for(R"("r": {"allow-any-verified": true})"), IsEmpty());
}

TEST_F(CredentialsReviewTest, FindsServerNamesThatOurCertificatesLack) {
  const std::string any = R"("allow-any-verified": true)";
  EXPECT_THAT(names_for(R"("r": {"sni": ["orders.test"], )" + any + "}"), IsEmpty());
  const auto some = names_for(R"("r": {"sni": ["orders.test", "*.orders.test"], )" + any + "}");
  EXPECT_THAT(join(some, Effect::kRefusesSome), HasSubstr("the server name *.orders.test"));
  EXPECT_THAT(join(names_for(R"("r": {"sni": ["users.test"], )" + any + "}"), Effect::kRefusesAll),
              HasSubstr("the server name users.test"));
  EXPECT_EQ(join(names_for(R"("r": {"sni": ["users.test"], )" + any + R"(}, "s": {)" + any + "}"),
                 Effect::kRefusesAll),
            "")
      << "the second route takes other names, too";

  present_only(root_.issue({.dns = {"*.shop.test"}}));
  EXPECT_THAT(names_for(R"("r": {"sni": ["users.shop.test", "*.shop.test"], )" + any + "}"),
              IsEmpty());
  present_only(root_.issue({.dns = {"users.shop.test", "a.b.mall.test"}}));
  EXPECT_THAT(names_for(R"("r": {"sni": ["*.shop.test"], )" + any + "}"), IsEmpty())
      << "one of the names that the route takes";
  EXPECT_THAT(join(names_for(R"("r": {"sni": ["*.mall.test"], )" + any + "}"), Effect::kRefusesAll),
              HasSubstr("the server name *.mall.test"));
  present_only(root_.issue({.spiffe = {"spiffe://a.test/gateway"}}));
  EXPECT_THAT(names_for(R"("r": {"sni": ["users.test"], )" + any + "}"), IsEmpty())
      << "clients go by the SPIFFE ID";
}

}  // namespace
}  // namespace sallyport::gateway
