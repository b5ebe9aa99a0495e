#include "ktls/trust/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>

#include <algorithm>
#include <string>
#include <string_view>

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

std::string with(std::string text, std::string_view what, std::string_view instead) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += instead.size())
    text.replace(at, what.size(), instead);
  return text;
}

int certificates(const Credentials& credentials, CertificateFact::Role role) {
  return static_cast<int>(
      std::ranges::count(credentials.certificates(), role, &CertificateFact::role));
}

std::string encrypted_pem(EVP_PKEY* key) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(out.get(), key, EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

TEST_F(CredentialsTest, ReportTheirCertificatesAndCrls) {
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
  EXPECT_EQ(expiries[0].since, to_time(X509_get0_notBefore(pki.own.x509.get())));
  EXPECT_EQ(expiries[1].role, "ca");
  ASSERT_EQ(credentials.crl_next_updates().size(), 1U);
  EXPECT_EQ(credentials.crl_next_updates()[0].since, credentials.crls()[0].this_update);
}

// What was expected of a file and is not in it shows here.
TEST_F(CredentialsTest, CountWhatWasReadOfEachFile) {
  const TestAuthority issuing = pki.authority.intermediate();
  pki.files.pairs[0].cert = pki.dir.write("chain.pem", pki.own.cert_pem + issuing.cert_pem());
  pki.files.ca.push_back({"b.example", pki.dir.write("b.pem", pki.authority.cert_pem() +
                                                                  TestAuthority("B").cert_pem() +
                                                                  issuing.cert_pem())});
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl() + issuing.crl())};
  pki.files.ticket_keys = pki.dir.write_secret("tickets", std::string(64, 'a') + "\n");
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials) << credentials.error().message();
  std::vector<std::string> counts;
  for (const FileFact& fact : (*credentials)->files())
    counts.push_back(std::string(fact.option) + " " + fact.name.substr(fact.name.rfind('/') + 1) +
                     ": " + std::to_string(fact.count) + " " + std::string(fact.object));
  EXPECT_THAT(counts, ElementsAre("--cert chain.pem: 2 certificate", "--key own.key: 1 private key",
                                  "--ca ca.pem: 1 certificate", "--ca b.pem: 3 certificate",
                                  "--crl a.crl: 2 CRL", "--ticket-keys tickets: 1 ticket secret"));
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
  const auto add = [this](const std::string& name, test::KeyType type) {
    const auto issued = pki.authority.issue({.key_type = type});
    pki.files.pairs.push_back({pki.dir.write(name + ".pem", issued.chain_pem),
                               pki.dir.write_secret(name + ".key", issued.key_pem)});
  };
  // Beside the one on P-256.
  add("p384", test::KeyType::kEcdsaP384);
  add("rsa", test::KeyType::kRsa2048);
  EXPECT_TRUE(Credentials::load(pki.files));
  add("second-p384", test::KeyType::kEcdsaP384);
  EXPECT_THAT(error(), HasSubstr("second-p384.pem: has a key of the same kind as"));
  EXPECT_THAT(error(), HasSubstr("one certificate for each kind of key"));
}

// Those of several routes differ in what is presented, and need not hold the lists once each.
TEST_F(CredentialsTest, ShareTheirTrustInsteadOfReadingIt) {
  const auto first = Credentials::load(pki.files).value();
  CredentialFiles files = pki.files;
  files.ca = {{std::nullopt, "no such file"}};
  files.trust_given_as = "trust.t";
  const auto second = Credentials::load(files, {}, first.get());
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ((*second)->trust_digest(), first->trust_digest());
  EXPECT_EQ((*second)->certificates().size(), first->certificates().size());
  EXPECT_EQ(&(*second)->crls(), &first->crls());
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
           Case{pki.authority.intermediate().cert_pem(), "unless --partial-chain is given"},
       }) {
    pki.files.ca = {{std::nullopt, pki.dir.write("bad.pem", bad.text)}};
    EXPECT_THAT(error(), AllOf(HasSubstr("bad.pem"), HasSubstr(bad.expected)));
  }
  pki.files.ca = {{std::nullopt, (pki.dir / "absent.pem").string()}};
  EXPECT_THAT(error(), AllOf(HasSubstr("absent.pem"), HasSubstr("No such file")));
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

// Revocation was off, without a word, when the BEGIN of a list did not begin its line.
TEST_F(CredentialsTest, DropNothingOfAFileInSilence) {
  const TestAuthority other("Other");
  const std::string a = pki.authority.cert_pem();
  const std::string b = other.cert_pem();
  const std::string bom = "\xef\xbb\xbf";
  const std::string parameters =
      "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
  for (const std::string& bundle :
       {bom + a + b, a + bom + b, " " + a + b, "\t" + a + "  " + b,
        with(a, "-----\n", "-----\t\n") + b, with(a, "-----\n", "-----  \r\n") + b,
        with(a + b, "\n", "\r\n"), with(a + b, "\n", "\r"), with(a + b, "\n", "\n  "),
        a.substr(0, a.size() - 1) + b, parameters + a + b}) {
    pki.files.ca = {{std::nullopt, pki.dir.write("ca.pem", bundle)}};
    const auto credentials = pki.load();
    ASSERT_TRUE(credentials) << credentials.error().message() << '\n' << bundle;
    EXPECT_EQ(certificates(**credentials, CertificateFact::Role::kCa), 2) << bundle;
  }
  const auto utf16 = [](std::string_view text) {
    std::string wide = "\xff\xfe";
    for (const char c : text) (wide += c) += '\0';
    return wide;
  };
  for (const std::string& bundle :
       {utf16(a + b), a + with(b, "BEGIN", "begin"), a + with(b, "-----BEGIN", "----BEGIN"),
        a + with(b, "-----END CERTIFICATE-----", ""),
        a + with(b, "-----BEGIN CERTIFICATE-----", ""),
        a + with(b, "BEGIN CERTIFICATE", "BEGIN CERTIFICATE REQUEST"), a + "-- end certificate --",
        a + "# " + b, a + "text " + b, a + b.substr(b.find('\n') + 1),
        a + with(b.substr(b.find('\n') + 1), "-----END CERTIFICATE-----", "")}) {
    pki.files.ca = {{std::nullopt, pki.dir.write("ca.pem", bundle)}};
    EXPECT_THAT(error(), HasSubstr("ca.pem:")) << bundle;
  }
}

TEST_F(CredentialsTest, TakeADirectoryAsOneSource) {
  const TestAuthority other("Other");
  const TestAuthority issuing = other.intermediate("Issuing");
  const auto cas = pki.dir / "cas";
  const auto lists = pki.dir / "lists";
  for (const auto& directory : {cas, lists}) std::filesystem::create_directory(directory);
  pki.files.ca = {{std::nullopt, cas.string()}};
  EXPECT_THAT(error(), AllOf(HasSubstr("cas"), HasSubstr("holds no *.pem, *.crt or *.crl file")));
  pki.dir.write("cas/issuing.crt", issuing.cert_pem());
  EXPECT_THAT(error(), HasSubstr("cas: holds no self-signed root"));
  pki.dir.write("cas/b.pem", other.cert_pem());
  pki.dir.write("cas/a.pem", pki.authority.cert_pem());
  pki.dir.write("cas/README", "not PEM");
  pki.dir.write("cas/..old.pem", "not PEM");
  pki.dir.write("lists/a.crl", pki.authority.crl());
  pki.dir.write("lists/b.pem", other.crl() + issuing.crl());
  pki.files.crls = {lists.string()};

  const auto credentials = pki.load();
  ASSERT_TRUE(credentials) << credentials.error().message();
  EXPECT_EQ(certificates(**credentials, CertificateFact::Role::kCa), 3);
  EXPECT_EQ((*credentials)->certificates().back().name, cas / "issuing.crt");
  EXPECT_EQ((*credentials)->crls().size(), 3U);

  pki.dir.write("cas/c.crl", pki.authority.crl());
  EXPECT_THAT(error(), HasSubstr("c.crl:1: holds a block \"X509 CRL\" beside certificates"));
  std::filesystem::remove(cas / "c.crl");
  std::filesystem::create_directory(cas / "d.pem");
  EXPECT_THAT(error(), HasSubstr("d.pem: is a directory"));
}

TEST_F(CredentialsTest, RefuseAFileWithoutACrl) {
  const std::string crl = pki.authority.crl({7});
  const std::string bom = "\xef\xbb\xbf";
  for (const std::string& text :
       {crl, bom + crl, " " + crl, with(crl, "CRL-----\n", "CRL-----\t\n"), with(crl, "\n", "\r"),
        bom + crl + pki.authority.intermediate().crl({8})}) {
    pki.files.crls = {pki.dir.write("x.crl", text)};
    const auto credentials = pki.load();
    ASSERT_TRUE(credentials) << credentials.error().message() << '\n' << text;
    EXPECT_EQ((*credentials)->crls().at(0).revoked, 1U) << text;
  }
  for (const std::string& text :
       {std::string(), std::string("# nothing yet\n"), std::string("<html>log in</html>\n"),
        pki.authority.cert_pem(), crl + pki.authority.cert_pem(),
        crl + "-----BEGIN X509 CRL-----\n", std::string("0\x82nonsense in DER")}) {
    pki.files.crls = {pki.dir.write("x.crl", text)};
    EXPECT_THAT(error(), HasSubstr("x.crl")) << text;
  }
}

TEST_F(CredentialsTest, TakeKeysAndTheirParametersInAnyForm) {
  const std::string key = pki.own.key_pem;
  const std::string chain = pki.own.chain_pem;
  const std::string parameters =
      "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
  for (const std::string& text : {"\xef\xbb\xbf" + key, with(key, "\n", "\r\n"), "  " + key,
                                  parameters + key, chain + key, key + chain}) {
    pki.files.pairs = {
        {pki.dir.write("own.pem", "\xef\xbb\xbf" + chain), pki.dir.write_secret("own.key", text)}};
    EXPECT_EQ(error(), "") << text;
  }
  pki.files.pairs = {{pki.dir.write("own.pem", chain),
                      pki.dir.write_secret("own.key", key + pki.authority.crl())}};
  EXPECT_THAT(error(), AllOf(HasSubstr("own.key:"), HasSubstr("X509 CRL")));
  pki.files.pairs = {{pki.dir.write("own.pem", chain + pki.authority.crl()),
                      pki.dir.write_secret("own.key", key)}};
  EXPECT_THAT(error(), AllOf(HasSubstr("own.pem:"), HasSubstr("X509 CRL")));
}

TEST_F(CredentialsTest, TakeATrustedCertificateThatTrustsClients) {
  const auto trusted = [this](int use, bool rejected) {
    const X509Ptr copy(X509_dup(pki.authority.certificate().x509.get()));
    ASN1_OBJECT* const object = OBJ_nid2obj(use);
    EXPECT_EQ(rejected ? X509_add1_reject_object(copy.get(), object)
                       : X509_add1_trust_object(copy.get(), object),
              1);
    const BioPtr out(BIO_new(BIO_s_mem()));
    EXPECT_EQ(PEM_write_bio_X509_AUX(out.get(), copy.get()), 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    return std::string(data, static_cast<std::size_t>(size));
  };
  const auto error_with = [&](int use, bool rejected) {
    pki.files.ca = {{std::nullopt, pki.dir.write("ca.pem", trusted(use, rejected))}};
    return error();
  };
  EXPECT_EQ(error_with(NID_client_auth, false), "");
  EXPECT_EQ(error_with(NID_anyExtendedKeyUsage, false), "");
  EXPECT_THAT(error_with(NID_server_auth, false), HasSubstr("ca.pem:1: TRUSTED CERTIFICATE"));
  EXPECT_THAT(error_with(NID_email_protect, true), HasSubstr("ca.pem:1: TRUSTED CERTIFICATE"));
}

TEST_F(CredentialsTest, TakeCrlsInDer) {
  const auto der_of = [](const std::string& pem) {
    const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    const X509CrlPtr crl(PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr));
    unsigned char* der = nullptr;
    const int size = i2d_X509_CRL(crl.get(), &der);
    std::string text(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return text;
  };
  const std::string first = der_of(pki.authority.crl({7}));
  const std::string second = der_of(pki.authority.intermediate().crl({8, 9}));
  pki.files.crls = {pki.dir.write("der.crl", first)};
  EXPECT_EQ(error(), "");
  pki.files.crls = {pki.dir.write("der.crl", first + second)};
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials) << credentials.error().message();
  ASSERT_EQ((*credentials)->crls().size(), 2U);
  EXPECT_EQ((*credentials)->crls()[1].revoked, 2U);
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

TEST_F(CredentialsTest, JudgeATrustByAnchorAndExpiry) {
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials);
  PeerTrust trust;
  const X509* const root = pki.authority.certificate().x509.get();
  trust.anchor_name = name_hash(X509_get_subject_name(root));
  trust.anchor_key = public_key_hash(root);
  trust.not_after = wall_clock_now() + std::chrono::hours(1);
  const auto revalidated = [&](std::chrono::seconds later) {
    return (*credentials)->judge(trust, wall_clock_now() + later).result();
  };
  EXPECT_EQ(revalidated(std::chrono::hours(0)), HandshakeResult::kSuccess);
  EXPECT_EQ(revalidated(std::chrono::hours(2)), HandshakeResult::kCertificateExpired);
  trust.anchor_key[0] ^= 1;
  EXPECT_EQ(revalidated(std::chrono::hours(0)), HandshakeResult::kCertificateAuthorityInvalid);
  trust.anchor_key[0] ^= 1;
  trust.anchor_name[0] ^= 1;
  EXPECT_EQ(revalidated(std::chrono::hours(0)), HandshakeResult::kCertificateAuthorityInvalid)
      << "an authority of another name with the same key";
}

// The anchor's dates are those of the bundle in force, not those at the handshake.
TEST_F(CredentialsTest, JudgeAnAnchorByTheDatesOfItsCertificatesInForce) {
  using std::chrono::hours;
  const auto anchor = [&](std::chrono::seconds not_before, std::chrono::seconds not_after) {
    const test::TestCertificate& own = pki.authority.certificate();
    const X509Ptr copy(X509_dup(own.x509.get()));
    X509_gmtime_adj(X509_getm_notBefore(copy.get()), not_before.count());
    X509_gmtime_adj(X509_getm_notAfter(copy.get()), not_after.count());
    EXPECT_GT(X509_sign(copy.get(), own.key.get(), EVP_sha256()), 0);
    return test::to_pem(copy.get());
  };
  const X509* const root = pki.authority.certificate().x509.get();
  PeerTrust trust;
  trust.anchor_name = name_hash(X509_get_subject_name(root));
  trust.anchor_key = public_key_hash(root);
  trust.not_after = std::chrono::sys_seconds::max();
  const auto judged = [&](const std::string& bundle, hours later) {
    pki.files.ca = {{std::nullopt, pki.dir.write("dated.pem", bundle)}};
    const auto credentials = pki.load();
    EXPECT_TRUE(credentials) << credentials.error().message();
    const TrustVerdict verdict = (*credentials)->judge(trust, wall_clock_now() + later);
    EXPECT_EQ(verdict.validity, HandshakeResult::kSuccess);
    return verdict.anchor;
  };
  const std::string early = anchor(hours(-2), hours(10));
  const std::string renewed = anchor(hours(5), hours(1000));
  EXPECT_EQ(judged(early, hours(0)), HandshakeResult::kSuccess);
  EXPECT_EQ(judged(early, hours(11)), HandshakeResult::kCertificateExpired);
  EXPECT_EQ(judged(renewed, hours(0)), HandshakeResult::kCertificateNotYetValid);
  EXPECT_EQ(judged(early + renewed, hours(0)), HandshakeResult::kSuccess);
  EXPECT_EQ(judged(renewed + early, hours(11)), HandshakeResult::kSuccess);
}

}  // namespace
}  // namespace sallyport::ktls::testing
