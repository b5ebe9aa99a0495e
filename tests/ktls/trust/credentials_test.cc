#include "ktls/trust/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>

#include <string>

#include "ktls/trust/pem_file.h"
#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using test::TestAuthority;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CredentialsTest : public ::testing::Test {
 protected:
  std::string error() {
    const auto credentials = pki.load();
    return credentials ? "" : credentials.error().message();
  }
  Sha256 digest() { return (*pki.load())->trust_digest(); }

  TestServer pki;
};

std::string encrypted_pem(EVP_PKEY* key) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(out.get(), key, EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

TEST_F(CredentialsTest, TellWhatTheyHold) {
  pki.files.ca.push_back(
      {"Example.ORG", pki.dir.write("scoped.pem", TestAuthority("Scoped").cert_pem())});
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({1, 2}))};
  const auto loaded = pki.load();
  ASSERT_TRUE(loaded) << loaded.error().message();
  const Credentials& credentials = **loaded;
  EXPECT_TRUE(credentials.has_unscoped_trust());
  EXPECT_THAT(credentials.trust_domains(), ElementsAre("example.org"));
  EXPECT_EQ(credentials.own_not_after(), to_time(X509_get0_notAfter(pki.own.x509.get())));

  ASSERT_EQ(credentials.certificates().size(), 3U);
  EXPECT_TRUE(credentials.certificates()[0].leaf);
  EXPECT_EQ(credentials.certificates()[0].subject, "CN=gateway");
  EXPECT_EQ(credentials.certificates()[0].key, "EC P-256");
  EXPECT_TRUE(credentials.certificates()[1].anchor);
  EXPECT_EQ(credentials.certificates()[2].trust_domain, "example.org");
  ASSERT_EQ(credentials.crls().size(), 1U);
  EXPECT_EQ(credentials.crls()[0].revoked, 2U);

  const auto expiries = credentials.certificate_expiries();
  ASSERT_EQ(expiries.size(), 3U);
  EXPECT_EQ(expiries[0].role, "server");
  EXPECT_EQ(expiries[0].name, pki.files.pairs[0].cert);
  EXPECT_EQ(expiries[1].role, "ca");
  ASSERT_EQ(credentials.crl_next_updates().size(), 1U);
}

TEST_F(CredentialsTest, LoadAnExpiredCertificateOfOursAndSayWhenItExpired) {
  const auto expired = pki.authority.issue(
      {.not_before = std::chrono::hours(-3), .not_after = std::chrono::hours(-1)});
  pki.files.pairs = {{pki.dir.write("own.pem", expired.chain_pem),
                      pki.dir.write_secret("own.key", expired.key_pem)}};
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials);
  EXPECT_LT((*credentials)->own_not_after(), wall_clock_now());
}

TEST_F(CredentialsTest, TakeKeyAndChainFromOneFile) {
  const std::string both =
      pki.dir.write_secret("both.pem", pki.own.key_pem + "text between\n" + pki.own.chain_pem);
  pki.files.pairs = {{both, both}};
  EXPECT_EQ(error(), "");
}

TEST_F(CredentialsTest, RefuseAKeyThatOthersCanRead) {
  const std::string key = pki.dir.write("open.key", pki.own.key_pem, 0644);
  pki.files.pairs[0].key = key;
  EXPECT_THAT(error(), AllOf(HasSubstr(key), HasSubstr("0644")));
}

TEST_F(CredentialsTest, RefuseAKeyOfAnotherCertificate) {
  pki.files.pairs[0].key = pki.dir.write_secret("other.key", pki.client().key_pem);
  EXPECT_THAT(error(), AllOf(HasSubstr("other.key"), HasSubstr("own.pem")));
}

TEST_F(CredentialsTest, RefuseAnEncryptedKeyWithoutAsking) {
  pki.files.pairs[0].key = pki.dir.write_secret("secret.key", encrypted_pem(pki.own.key.get()));
  EXPECT_THAT(error(), AllOf(HasSubstr("secret.key:1"), HasSubstr("encrypted")));
}

TEST_F(CredentialsTest, RefuseTwoPairsOfOneKind) {
  const auto second = pki.authority.issue({.key_type = test::KeyType::kEcdsaP384});
  pki.files.pairs.push_back({pki.dir.write("second.pem", second.chain_pem),
                             pki.dir.write_secret("second.key", second.key_pem)});
  EXPECT_THAT(error(), HasSubstr("same kind of key"));
}

TEST_F(CredentialsTest, NameTheFileAndLineThatIsWrong) {
  const std::string good = pki.authority.cert_pem();
  const auto lines = std::to_string(std::ranges::count(good, '\n') + 1);
  std::string broken = good;
  broken[100] = broken[100] == 'A' ? 'B' : 'A';
  struct Case {
    std::string text, expected;
  };
  for (const Case& bad : {
           Case{"", "holds no certificate"},
           Case{"just text\n", "holds no certificate"},
           Case{good + good.substr(0, good.size() / 2),
                ":" + lines + ": PEM block without its END"},
           Case{good + "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
                ":" + lines + ": bad certificate"},
           Case{good + pki.own.key_pem, ":" + lines + ": holds a block \"PRIVATE KEY\""},
           Case{pki.authority.intermediate().cert_pem(), "holds no self-signed root"},
       }) {
    pki.files.ca = {{std::nullopt, pki.dir.write("bad.pem", bad.text)}};
    EXPECT_THAT(error(), AllOf(HasSubstr("bad.pem"), HasSubstr(bad.expected)));
  }
  pki.files.ca = {{std::nullopt, (pki.dir / "absent.pem").string()}};
  EXPECT_THAT(error(), AllOf(HasSubstr("absent.pem"), HasSubstr("No such file")));
  pki.files.ca = {{std::nullopt, pki.dir.path().string()}};
  EXPECT_THAT(error(), HasSubstr("not a regular file"));
  pki.files.ca.clear();
  EXPECT_THAT(error(), HasSubstr("--ca"));
}

TEST_F(CredentialsTest, RefuseATamperedRoot) {
  std::vector<std::byte> der = to_der(pki.authority.certificate().x509.get());
  der.back() ^= std::byte{1};  // the signature's last byte
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const X509Ptr tampered(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ASSERT_TRUE(tampered);
  pki.files.ca = {{std::nullopt, pki.dir.write("bad.pem", test::to_pem(tampered.get()))}};
  EXPECT_THAT(error(), HasSubstr("bad signature"));
}

TEST_F(CredentialsTest, RefuseAScopeThatIsNoTrustDomain) {
  for (const char* domain : {"", "a/b", "a b", "*.org"}) {
    pki.files.ca.front().domain = domain;
    EXPECT_THAT(error(), HasSubstr("trust domain")) << domain;
  }
}

TEST_F(CredentialsTest, RefuseSettingsThatOpensslDoesNotKnow) {
  pki.settings.groups = "X25519:nonsense";
  EXPECT_THAT(error(), HasSubstr("--groups"));
  pki.settings.groups = "";
  pki.settings.ciphersuites = {"TLS_AES_128_CCM_SHA256"};
  EXPECT_THAT(error(), HasSubstr("--ciphersuites"));
}

TEST_F(CredentialsTest, RefuseACrlThatItsIssuerDidNotSign) {
  const TestAuthority impostor;  // the same name, another key
  pki.files.crls = {pki.dir.write("bad.crl", impostor.crl())};
  EXPECT_THAT(error(), AllOf(HasSubstr("bad.crl:1"), HasSubstr("not signed by the issuer")));
  pki.files.crls = {pki.dir.write("bad.crl", "nonsense")};
  EXPECT_THAT(error(), HasSubstr("holds no CRL"));
}

TEST_F(CredentialsTest, TakeACrlInDer) {
  const std::string pem = pki.authority.crl({7});
  const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const X509CrlPtr crl(PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_X509_CRL(crl.get(), &der);
  pki.files.crls = {
      pki.dir.write("der.crl", {reinterpret_cast<char*>(der), static_cast<std::size_t>(size)})};
  OPENSSL_free(der);
  EXPECT_EQ(error(), "");
}

TEST_F(CredentialsTest, HaveATrustDigestOfTrustAlone) {
  const TestAuthority other("Other");
  const Sha256 one = digest();
  pki.serve_with(test::KeyType::kEd25519);
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl())};
  EXPECT_EQ(digest(), one) << "leaf and CRL do not count";

  const std::string a = pki.authority.cert_pem();
  const std::string b = other.cert_pem();
  pki.files.ca = {{std::nullopt, pki.dir.write("ab.pem", a + b)}};
  const Sha256 both = digest();
  EXPECT_NE(both, one);
  pki.files.ca = {{std::nullopt, pki.dir.write("b.pem", b + b)},
                  {std::nullopt, pki.dir.write("a.pem", a)}};
  EXPECT_EQ(digest(), both) << "neither do order, repetition and files";
  pki.files.ca[0].domain = "example.org";
  EXPECT_NE(digest(), both) << "scopes do";
}

TEST_F(CredentialsTest, JudgeATrustAgain) {
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials);
  PeerTrust trust;
  trust.anchor_key = public_key_hash(pki.authority.certificate().x509.get());
  trust.not_after = wall_clock_now() + std::chrono::hours(1);
  const auto judge = [&](std::chrono::seconds later) {
    return (*credentials)->judge(trust, wall_clock_now() + later);
  };
  EXPECT_EQ(judge(std::chrono::hours(0)), HandshakeResult::kSuccess);
  EXPECT_EQ(judge(std::chrono::hours(2)), HandshakeResult::kCertificateExpired);
  trust.anchor_key[0] ^= 1;
  EXPECT_EQ(judge(std::chrono::hours(0)), HandshakeResult::kCertificateAuthorityInvalid);
}

TEST(PemFile, CountsLinesAndIgnoresWhatStandsBetween) {
  const auto blocks = cut_pem(
      "text\r\n-----BEGIN A-----\r\nx\r\n-----END A-----\r\n\n-----BEGIN B-----\n-----END B-----",
      "f");
  ASSERT_TRUE(blocks);
  ASSERT_EQ(blocks->size(), 2U);
  EXPECT_EQ((*blocks)[0].label, "A");
  EXPECT_EQ((*blocks)[0].line, 2U);
  EXPECT_EQ((*blocks)[1].line, 6U);
  EXPECT_FALSE(cut_pem("-----BEGIN A-----\n-----END B-----\n", "f"));
  EXPECT_FALSE(cut_pem("-----BEGIN A-----\n-----BEGIN B-----\n", "f"));
}

}  // namespace
}  // namespace sallyport::ktls::testing
