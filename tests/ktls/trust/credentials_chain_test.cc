// Certificates of ours that no root signs directly: a chain is loaded with its leaf and presented
// as the file has it. And what is refused of the files beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <string>
#include <vector>

#include "ktls/trust/credentials.h"
#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using test::KeyType;
using test::TestAuthority;
using test::TestCertificate;
using Step = ServerHandshake::Step;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

class ServerChain : public ::testing::Test {
 protected:
  /// The only pair: what `pem` says, with the key of `leaf`.
  void serve(const std::string& pem) {
    pki.files.pairs = {
        {pki.dir.write("own.pem", pem), pki.dir.write_secret("own.key", leaf.key_pem)}};
  }
  std::string error() {
    const auto credentials = pki.load();
    return credentials ? "" : credentials.error().message();
  }
  /// A handshake of a client that trusts the root alone. The subjects that it was presented, in
  /// order; none if it did not verify them.
  std::vector<std::string> presented(const char* algorithms = nullptr,
                                     KeyType client_type = KeyType::kEcdsaP256) {
    const TestCertificate certificate = pki.client(client_type);
    RoutedHandshake server(pki.context(), any_route());
    MemoryClient client({.certificate = &certificate, .trust_pem = pki.authority.cert_pem()});
    if (algorithms != nullptr) {
      EXPECT_EQ(SSL_set1_sigalgs_list(client.ssl(), algorithms), 1);
    }
    const Step step = shuttle(server, client);
    failure = server.failure();
    std::vector<std::string> subjects;
    if (step != Step::kDone) return subjects;
    const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(client.ssl());
    for (int i = 0; i < sk_X509_num(chain); ++i)
      subjects.push_back(name_text(X509_get_subject_name(sk_X509_value(chain, i))));
    return subjects;
  }

  TestServer pki;
  TestAuthority policy = pki.authority.intermediate("Policy");
  TestAuthority issuing = policy.intermediate("Issuing");
  TestCertificate leaf = issuing.issue({.cn = "gateway", .dns = {"gateway.test"}});
  HandshakeFailure failure;
};

TEST_F(ServerChain, LeadsAClientToARootThatItTrusts) {
  serve(leaf.cert_pem + issuing.cert_pem() + policy.cert_pem());
  EXPECT_THAT(presented(), ElementsAre("CN=gateway", "CN=Issuing", "CN=Policy"));
}

// Kubernetes and HAProxy write key and chain into one file, each in its own order.
TEST_F(ServerChain, MayStandWithItsKeyInOneFileInAnyOrder) {
  const std::string i = issuing.cert_pem();
  const std::string p = policy.cert_pem();
  for (const std::string& text :
       {leaf.key_pem + leaf.cert_pem + i + p, leaf.cert_pem + i + p + leaf.key_pem,
        i + leaf.key_pem + p + leaf.cert_pem}) {
    const std::string bundle = pki.dir.write_secret("bundle.pem", text);
    pki.files.pairs = {{bundle, bundle}};
    EXPECT_THAT(presented(), ElementsAre("CN=gateway", "CN=Issuing", "CN=Policy"));
  }
  const std::string open = pki.dir.write("open.pem", leaf.key_pem + leaf.cert_pem);
  pki.files.pairs = {{open, open}};
  EXPECT_THAT(error(), HasSubstr("open.pem: mode 0644"));
  const std::string other = pki.dir.write_secret("other.pem", leaf.key_pem + i);
  pki.files.pairs = {{other, other}};
  EXPECT_THAT(error(), HasSubstr("belongs to none of its certificates"));
}

// RFC 8446 4.4.2: the leaf comes first; a peer takes the others in any order.
TEST_F(ServerChain, MayHaveItsIntermediatesInAnyOrder) {
  serve(leaf.cert_pem + policy.cert_pem() + issuing.cert_pem());
  EXPECT_THAT(presented(), ElementsAre("CN=gateway", "CN=Policy", "CN=Issuing"));
}

TEST_F(ServerChain, MayEndWithItsRoot) {
  serve(leaf.chain_pem + pki.authority.cert_pem());
  EXPECT_THAT(presented(), ElementsAre("CN=gateway", "CN=Issuing", "CN=Policy", "CN=Test Root"));
}

TEST_F(ServerChain, MayShareAFileWithItsKey) {
  for (const std::string& text :
       {leaf.key_pem + leaf.chain_pem, leaf.chain_pem + leaf.key_pem,
        leaf.cert_pem + leaf.key_pem + issuing.cert_pem() + policy.cert_pem()}) {
    const std::string both = pki.dir.write_secret("both.pem", text);
    pki.files.pairs = {{both, both}};
    EXPECT_THAT(presented(), ElementsAre("CN=gateway", "CN=Issuing", "CN=Policy")) << text;
  }
}

TEST_F(ServerChain, IsPresentedAsItIsEvenIfTheBundleCouldCompleteIt) {
  pki.files.ca = {
      {std::nullopt,
       pki.dir.write("ca.pem", pki.authority.cert_pem() + policy.cert_pem() + issuing.cert_pem())}};
  serve(leaf.cert_pem + issuing.cert_pem());
  EXPECT_THAT(presented(), ElementsAre());
  EXPECT_EQ(failure.result, HandshakeResult::kPeerConnectionClosed);
  EXPECT_THAT(failure.detail, HasSubstr("unknown ca"));
}

TEST_F(ServerChain, BelongsToThePairThatItWasLoadedWith) {
  const TestAuthority rsa_issuing = pki.authority.intermediate("RSA issuing", KeyType::kRsa2048);
  const TestCertificate rsa = rsa_issuing.issue({.cn = "rsa", .key_type = KeyType::kRsa2048});
  serve(leaf.chain_pem);
  pki.files.pairs.push_back(
      {pki.dir.write("rsa.pem", rsa.chain_pem), pki.dir.write_secret("rsa.key", rsa.key_pem)});
  EXPECT_THAT(presented("ECDSA+SHA256"), ElementsAre("CN=gateway", "CN=Issuing", "CN=Policy"));
  EXPECT_THAT(presented("RSA-PSS+SHA256", KeyType::kRsa2048),
              ElementsAre("CN=rsa", "CN=RSA issuing"));
}

TEST_F(ServerChain, BeginsWithTheCertificateOfTheKey) {
  serve(issuing.cert_pem() + leaf.cert_pem + policy.cert_pem());
  EXPECT_THAT(error(),
              AllOf(HasSubstr("own.key"), HasSubstr("first certificate of"), HasSubstr("own.pem")));
}

TEST_F(ServerChain, IsToldOfWithItsLeafAndItsEarliestExpiry) {
  const TestAuthority brief =
      pki.authority.intermediate("Brief", KeyType::kEcdsaP256, std::chrono::hours(2));
  leaf = brief.issue({.cn = "gateway", .not_after = std::chrono::hours(48)});
  serve(leaf.chain_pem);
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials) << credentials.error().message();
  const auto& facts = (*credentials)->certificates();
  ASSERT_EQ(facts.size(), 3U) << "leaf, intermediate and the root of the bundle";
  EXPECT_TRUE(facts[0].leaf);
  EXPECT_FALSE(facts[1].leaf);
  EXPECT_EQ(facts[1].subject, "CN=Brief");
  EXPECT_EQ(to_string(facts[1].role), "server");
  const auto leaf_ends = to_time(X509_get0_notAfter(leaf.x509.get()));
  const auto chain_ends = to_time(X509_get0_notAfter(brief.certificate().x509.get()));
  EXPECT_EQ((*credentials)->own_not_after(), leaf_ends);
  EXPECT_EQ((*credentials)->certificate_expiries().at(0).at, chain_ends)
      << "what ends first ends the file";
  EXPECT_EQ((*credentials)->certificate_expiries().at(0).since,
            to_time(X509_get0_notBefore(brief.certificate().x509.get())));
}

using ServerKey = ServerChain;
using RevocationList = ServerChain;
using CredentialFile = ServerChain;

// ---- what is refused

TEST_F(ServerChain, IsRefusedWithALeafOrAnIntermediateThatIsTooWeak) {
  const std::shared_ptr<EVP_PKEY> weak(EVP_RSA_gen(1024), EVP_PKEY_free);
  leaf = issuing.issue({.cn = "weak"}, weak);
  serve(leaf.chain_pem);
  EXPECT_THAT(error(), AllOf(HasSubstr("own.pem: cannot be used"), HasSubstr("key too small")));

  const TestCertificate weak_ca = pki.authority.issue({.cn = "Weak CA", .ca = true}, weak);
  leaf = issuing.issue({.cn = "gateway"});
  serve(leaf.cert_pem + weak_ca.cert_pem);
  EXPECT_THAT(error(), AllOf(HasSubstr("own.pem: chain cannot be used"), HasSubstr("too small")));
}

TEST_F(ServerChain, IsRefusedWithAnIntermediateWhoseKeyIsUnknown) {
  // An id-ecPublicKey over a curve of the arc 2.999, which is for examples.
  const X509Ptr odd(X509_dup(issuing.certificate().x509.get()));
  X509_PUBKEY* const key = X509_get_X509_PUBKEY(odd.get());
  const unsigned char point[] = {4, 1, 2};
  auto* const bits = static_cast<unsigned char*>(OPENSSL_memdup(point, sizeof point));
  ASSERT_EQ(X509_PUBKEY_set0_param(key, OBJ_nid2obj(NID_X9_62_id_ecPublicKey), V_ASN1_OBJECT,
                                   OBJ_txt2obj("2.999.1", 1), bits, sizeof point),
            1);
  ASSERT_GT(X509_sign(odd.get(), policy.certificate().key.get(), EVP_sha256()), 0);
  serve(leaf.cert_pem + test::to_pem(odd.get()));
  EXPECT_THAT(error(), HasSubstr("a key that cannot be used"));
}

std::string traditional_encrypted_pem(EVP_PKEY* key) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  const auto* const passphrase = reinterpret_cast<const unsigned char*>("secret");
  EXPECT_EQ(PEM_write_bio_PrivateKey_traditional(out.get(), key, EVP_aes_128_cbc(), passphrase, 6,
                                                 nullptr, nullptr),
            1);
  return text_of(out.get());
}

TEST_F(ServerKey, IsRefusedInTheTraditionalEncryptedForm) {
  serve(leaf.chain_pem);
  pki.files.pairs[0].key =
      pki.dir.write_secret("old.key", traditional_encrypted_pem(leaf.key.get()));
  EXPECT_THAT(error(), AllOf(HasSubstr("old.key:1"), HasSubstr("encrypted")));
}

// PEM has encryption for any kind of block; libcrypto would ask the terminal for a passphrase.
TEST_F(ServerChain, IsRefusedWhereItIsEncrypted) {
  std::string text = traditional_encrypted_pem(leaf.key.get());
  for (std::size_t at = 0; (at = text.find("EC PRIVATE KEY", at)) != std::string::npos;)
    text.replace(at, 14, "CERTIFICATE");
  serve(text);
  EXPECT_THAT(error(), HasSubstr("own.pem:1: bad certificate"));
}

TEST_F(ServerKey, IsExactlyOneThatCanBeRead) {
  serve(leaf.chain_pem);
  pki.files.pairs[0].key = pki.dir.write_secret("two.key", leaf.key_pem + leaf.key_pem);
  EXPECT_THAT(error(), HasSubstr("a second private key"));
  pki.files.pairs[0].key = pki.dir.write_secret("none.key", leaf.chain_pem);
  EXPECT_THAT(error(), HasSubstr("holds no private key"));
  pki.files.pairs[0].key = pki.dir.write_secret(
      "bad.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
  EXPECT_THAT(error(), HasSubstr("bad.key:1: bad private key"));
}

TEST_F(ServerChain, IsRefusedWhereItsFileHoldsNoCertificate) {
  serve(leaf.key_pem);
  EXPECT_THAT(error(), HasSubstr("own.pem: holds no certificate"));
  serve("");
  EXPECT_THAT(error(), HasSubstr("own.pem: holds no certificate"));
}

TEST_F(ServerChain, IsNeeded) {
  pki.files.pairs.clear();
  EXPECT_THAT(error(), HasSubstr("--cert"));
}

// ---- CRLs

enum class Form { kPem, kDer };

std::string signed_crl(X509_CRL* crl, const TestAuthority& authority, Form form) {
  EXPECT_GT(X509_CRL_sign(crl, authority.certificate().key.get(), EVP_sha256()), 0);
  const BioPtr out(BIO_new(BIO_s_mem()));
  EXPECT_EQ(form == Form::kPem ? PEM_write_bio_X509_CRL(out.get(), crl)
                               : i2d_X509_CRL_bio(out.get(), crl),
            1);
  return text_of(out.get());
}

X509CrlPtr crl_of(const TestAuthority& authority) {
  const std::string text = authority.crl({7});
  const BioPtr in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  return X509CrlPtr(PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr));
}

// A delta CRL (RFC 5280 5.2.4) lists changes only: taken for a whole one it would forget what was
// revoked before.
TEST_F(RevocationList, IsRefusedAsADelta) {
  const X509CrlPtr delta = crl_of(pki.authority);
  const Asn1IntegerPtr base(ASN1_INTEGER_new());
  ASN1_INTEGER_set(base.get(), 1);
  ASSERT_EQ(X509_CRL_add1_ext_i2d(delta.get(), NID_delta_crl, base.get(), 1, 0), 1);
  serve(leaf.chain_pem);
  pki.files.crls = {pki.dir.write("d.crl", signed_crl(delta.get(), pki.authority, Form::kPem))};
  EXPECT_THAT(error(), AllOf(HasSubstr("d.crl:1: delta CRL"), HasSubstr("not supported")));
  pki.files.crls = {pki.dir.write("d.crl", signed_crl(delta.get(), pki.authority, Form::kDer))};
  EXPECT_THAT(error(), HasSubstr("d.crl: delta CRL"));
}

TEST_F(RevocationList, IsRefusedInDerWithSomethingBehindIt) {
  serve(leaf.chain_pem);
  const std::string der = signed_crl(crl_of(pki.authority).get(), pki.authority, Form::kDer);
  pki.files.crls = {pki.dir.write("d.crl", der + "more")};
  EXPECT_THAT(error(), HasSubstr("d.crl: bytes behind a CRL that are no CRL in DER"));
}

// RFC 5280 5.1.2.5 wants nextUpdate, X.509 does not; without it a list does not expire.
TEST_F(RevocationList, MayNeverExpire) {
  X509* const issuer = pki.authority.certificate().x509.get();
  const X509CrlPtr crl(X509_CRL_new());
  X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer));
  X509_CRL_set1_lastUpdate(crl.get(), X509_get0_notBefore(issuer));
  serve(leaf.chain_pem);
  pki.files.crls = {pki.dir.write("n.crl", signed_crl(crl.get(), pki.authority, Form::kPem))};
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials) << credentials.error().message();
  EXPECT_FALSE((*credentials)->crls().at(0).next_update);
  EXPECT_TRUE((*credentials)->crl_next_updates().empty());
  EXPECT_FALSE(presented().empty()) << failure.detail;
  const PeerTrust earlier{
      .identity = {},
      .anchor_name = name_hash(X509_get_subject_name(issuer)),
      .anchor_key = public_key_hash(issuer),
      .links = {{name_hash(X509_get_subject_name(issuer)), "\x07", public_key_hash(issuer)}},
      .not_after = std::chrono::sys_seconds::max()};
  const auto later = wall_clock_now() + std::chrono::years(100);
  EXPECT_EQ((*credentials)->judge(earlier, later).revocation, HandshakeResult::kSuccess);
}

TEST_F(CredentialFile, ThatIsMissingOrCutIsNamed) {
  serve(leaf.chain_pem);
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl())};
  pki.files.ticket_keys = pki.dir.write_secret("tickets", std::string(64, 'a'));
  ASSERT_EQ(error(), "");
  const CredentialFiles good = pki.files;
  const std::string absent = pki.dir / "absent";
  const std::string cut = pki.dir.write_secret("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
  for (auto file : {+[](CredentialFiles& files) { return &files.pairs[0].cert; },
                    +[](CredentialFiles& files) { return &files.pairs[0].key; },
                    +[](CredentialFiles& files) { return &files.ca[0].file; },
                    +[](CredentialFiles& files) { return &files.crls[0]; },
                    +[](CredentialFiles& files) { return &*files.ticket_keys; }}) {
    *file(pki.files) = absent;
    EXPECT_THAT(error(), AllOf(HasSubstr("absent: "), HasSubstr("No such file")))
        << *file(pki.files);
    *file(pki.files) = cut;
    EXPECT_THAT(error(), HasSubstr("cut:1: ")) << *file(pki.files);
    pki.files = good;
  }
  pki.files.crls = {
      pki.dir.write("bad.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")};
  EXPECT_THAT(error(), HasSubstr("bad.crl:1: bad CRL"));
}

}  // namespace
}  // namespace sallyport::ktls::testing
