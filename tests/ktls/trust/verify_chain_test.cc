// Certificates of clients that no orderly authority issues, and trust that is judged again: what is
// refused, and with which words.
#include "ktls/trust/verify_chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/crl_builder.h"

namespace sallyport::ktls::testing {
namespace {

using test::TestAuthority;
using test::TestCertificate;
using Step = ServerHandshake::Step;
using ::testing::HasSubstr;

class OddCertificate : public ::testing::Test {
 protected:
  /// A client's certificate, changed and signed anew.
  TestCertificate changed(const std::function<void(X509*)>& change) {
    TestCertificate made = pki.client();
    change(made.x509.get());
    EXPECT_GT(X509_sign(made.x509.get(), pki.authority.certificate().key.get(), EVP_sha256()), 0);
    made.cert_pem = test::to_pem(made.x509.get());
    made.chain_pem = made.cert_pem;
    return made;
  }
  /// A handshake with it. What refused it; of a success, the result alone.
  HandshakeFailure refusal_of(const TestCertificate& certificate) {
    RoutedHandshake server(pki.context(), any_route());
    MemoryClient client({.certificate = &certificate});
    const Step step = shuttle(server, client);
    alert = client.alert();
    return step == Step::kDone ? HandshakeFailure{.result = HandshakeResult::kSuccess}
                               : server.failure();
  }

  TestServer pki;
  std::optional<int> alert;
};

void set_serial(X509* certificate, std::size_t bytes) {
  const std::vector<unsigned char> value(bytes, 0x7f);
  const OpensslPtr<BIGNUM, BN_free> number(
      BN_bin2bn(value.data(), static_cast<int>(value.size()), nullptr));
  ASSERT_NE(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)), nullptr);
}

void drop(X509* certificate, int nid) {
  const int at = X509_get_ext_by_NID(certificate, nid, -1);
  if (at >= 0) X509_EXTENSION_free(X509_delete_ext(certificate, at));
}

void add(X509* certificate, int nid, std::string_view value, bool critical = false) {
  const OpensslPtr<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> bytes(ASN1_OCTET_STRING_new());
  ASN1_OCTET_STRING_set(bytes.get(), reinterpret_cast<const unsigned char*>(value.data()),
                        static_cast<int>(value.size()));
  const OpensslPtr<X509_EXTENSION, X509_EXTENSION_free> extension(
      X509_EXTENSION_create_by_NID(nullptr, nid, critical ? 1 : 0, bytes.get()));
  ASSERT_EQ(X509_add_ext(certificate, extension.get(), -1), 1);
}

// RFC 5280 4.1.2.2 allows 20 bytes, and asks for more to be taken.
TEST_F(OddCertificate, MayHaveASerialOf64Bytes) {
  const auto most = changed([](X509* certificate) { set_serial(certificate, 64); });
  EXPECT_EQ(refusal_of(most).result, HandshakeResult::kSuccess);
  const auto more = changed([](X509* certificate) { set_serial(certificate, 65); });
  const HandshakeFailure failure = refusal_of(more);
  EXPECT_EQ(to_string(failure.result), "certificate_malformed");
  EXPECT_THAT(failure.detail, HasSubstr("serial number of more than 64 bytes"));
  EXPECT_EQ(failure.serial.size(), 130U);
  EXPECT_EQ(alert, 42);

  const auto far_more = changed([](X509* certificate) { set_serial(certificate, 1'000); });
  EXPECT_EQ(refusal_of(far_more).serial, "of 1000 bytes") << "nor is it printed";
}

TEST_F(OddCertificate, IsRefusedWithNamesThatCannotBeDecoded) {
  const auto broken = changed([](X509* certificate) {
    drop(certificate, NID_subject_alt_name);
    add(certificate, NID_subject_alt_name, "\x30\x7fnames");
  });
  const HandshakeFailure failure = refusal_of(broken);
  EXPECT_EQ(to_string(failure.result), "certificate_malformed");
  EXPECT_THAT(failure.detail, HasSubstr("cannot be decoded"));
  EXPECT_EQ(alert, 42);
}

// X.509-SVID 4.3. What has no SPIFFE ID is the matter of RFC 5280 alone.
TEST_F(OddCertificate, WithASpiffeIdSignsHandshakesAndNothingElse) {
  const TestCertificate& root = pki.authority.certificate();
  const TestCertificate svid = pki.client();
  const TestCertificate named = pki.authority.issue({.dns = {"web"}});
  const auto verdict = [&](const TestCertificate& leaf, const std::string& usage) {
    const TestCertificate odd = reissue(leaf, root, {{"keyUsage", "critical," + usage}});
    return to_string(refusal_of(odd).result);
  };
  for (const char* usage :
       {"digitalSignature,keyCertSign", "digitalSignature,cRLSign", "keyAgreement",
        "keyEncipherment", "keyCertSign", "digitalSignature,keyCertSign,cRLSign"}) {
    EXPECT_EQ(verdict(svid, usage), "certificate_malformed") << usage;
    EXPECT_EQ(alert, 42);
  }
  EXPECT_EQ(verdict(svid, "digitalSignature,keyAgreement"), "success");
  EXPECT_EQ(verdict(named, "digitalSignature,keyCertSign,cRLSign"), "success");
  EXPECT_EQ(verdict(named, "keyEncipherment"), "certificate_purpose_invalid");
  const auto without_usage = changed([](X509* leaf) { drop(leaf, NID_key_usage); });
  EXPECT_EQ(to_string(refusal_of(without_usage).result), "success");
}

TEST_F(OddCertificate, IsJudgedByItsExtendedKeyUsageAsTheSettingSays) {
  using test::Eku;
  const auto verdict = [&](ClientEku setting, Eku eku) {
    pki.settings.client_eku = setting;
    return to_string(refusal_of(pki.authority.issue({.dns = {"web"}, .eku = eku})).result);
  };
  for (const ClientEku any : {ClientEku::kRequire, ClientEku::kIfPresent, ClientEku::kIgnore})
    EXPECT_EQ(verdict(any, Eku::kClientAndServerAuth), "success");
  EXPECT_EQ(verdict(ClientEku::kRequire, Eku::kAbsent), "certificate_purpose_invalid");
  EXPECT_EQ(alert, 43);
  EXPECT_EQ(verdict(ClientEku::kRequire, Eku::kServerAuth), "certificate_purpose_invalid");
  EXPECT_EQ(verdict(ClientEku::kIfPresent, Eku::kAbsent), "success");
  EXPECT_EQ(verdict(ClientEku::kIfPresent, Eku::kServerAuth), "certificate_purpose_invalid");
  EXPECT_EQ(verdict(ClientEku::kIgnore, Eku::kAbsent), "success");
  EXPECT_EQ(verdict(ClientEku::kIgnore, Eku::kOther), "success");

  const TestCertificate encrypts =
      reissue(pki.authority.issue({.dns = {"web"}}), pki.authority.certificate(),
              {{"keyUsage", "critical,keyEncipherment"}});
  EXPECT_EQ(to_string(refusal_of(encrypts).result), "certificate_purpose_invalid")
      << "the usage of the key counts, whatever that of the certificate";
  EXPECT_EQ(to_string(refusal_of(TestAuthority("Other").issue({.dns = {"web"}})).result),
            "certificate_authority_invalid");
}

TEST_F(OddCertificate, MayEndItsChainAtAnIntermediateWhereThatAnchors) {
  const TestAuthority issuing = pki.authority.intermediate("Issuing");
  const TestAuthority below = issuing.intermediate("Below");
  const TestCertificate web = below.issue({.dns = {"web"}});
  pki.files.ca = {{std::nullopt, pki.dir.write("issuing.pem", issuing.cert_pem())}};
  EXPECT_FALSE(pki.load()) << "no root";
  pki.settings.partial_chain = true;
  EXPECT_EQ(to_string(refusal_of(web).result), "success");
  EXPECT_EQ(to_string(refusal_of(pki.client()).result), "certificate_authority_invalid")
      << "of the root that is not there";
  pki.files.crls = {pki.dir.write("a.crl", issuing.crl() + below.crl())};
  EXPECT_EQ(to_string(refusal_of(web).result), "success") << "the anchor needs no list";
  pki.files.crls = {pki.dir.write("a.crl", issuing.crl() + below.crl({web.serial}))};
  EXPECT_EQ(to_string(refusal_of(web).result), "certificate_revoked");
  pki.files.crls = {
      pki.dir.write("a.crl", issuing.crl({below.certificate().serial}) + below.crl())};
  EXPECT_EQ(to_string(refusal_of(web).result), "certificate_revoked");
}

TEST_F(OddCertificate, IsRefusedWithNamesTwice) {
  const auto twice = changed([](X509* certificate) {
    const OpensslPtr<X509_EXTENSION, X509_EXTENSION_free> again(X509_EXTENSION_dup(
        X509_get_ext(certificate, X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1))));
    ASSERT_EQ(X509_add_ext(certificate, again.get(), -1), 1);
  });
  EXPECT_EQ(to_string(refusal_of(twice).result), "certificate_malformed");
  EXPECT_EQ(alert, 42);
}

TEST_F(OddCertificate, IsRefusedWithAnExtensionThatMustBeUnderstood) {
  const auto critical = changed([](X509* certificate) {
    add(certificate, OBJ_create("2.999.7", "odd", "an odd extension"), "\x05\x00", true);
  });
  const HandshakeFailure failure = refusal_of(critical);
  EXPECT_EQ(to_string(failure.result), "certificate_verification_failed");
  EXPECT_THAT(failure.detail, HasSubstr("critical extension"));
}

// Which one cannot be told: libcrypto looks for no issuer of what it cannot read.
TEST_F(OddCertificate, ThatCannotBeDecodedIsMalformedWhicheverAuthorityIssuedIt) {
  const TestAuthority stranger("Stranger");
  TestCertificate broken = stranger.issue({.dns = {"web"}});
  drop(broken.x509.get(), NID_subject_alt_name);
  add(broken.x509.get(), NID_subject_alt_name, "\x30\x7fnames");
  ASSERT_GT(X509_sign(broken.x509.get(), stranger.certificate().key.get(), EVP_sha256()), 0);
  broken.chain_pem = test::to_pem(broken.x509.get());
  EXPECT_EQ(to_string(refusal_of(broken).result), "certificate_malformed");
  EXPECT_EQ(alert, 42);
}

TEST(OddIdentity, IsRefusedWithTheReason) {
  const TestAuthority authority;
  const TestCertificate undecodable = authority.issue({});
  add(undecodable.x509.get(), NID_subject_alt_name, "\x30\x7fnames");
  EXPECT_EQ(identify(undecodable.x509.get()).error(), "extension subjectAltName cannot be decoded");

  const TestCertificate twice = authority.issue({.dns = {"web"}});
  const OpensslPtr<X509_EXTENSION, X509_EXTENSION_free> again(X509_EXTENSION_dup(X509_get_ext(
      twice.x509.get(), X509_get_ext_by_NID(twice.x509.get(), NID_subject_alt_name, -1))));
  ASSERT_EQ(X509_add_ext(twice.x509.get(), again.get(), -1), 1);
  EXPECT_EQ(identify(twice.x509.get()).error(), "extension subjectAltName twice");
}

// ---- trust from a ticket or a remembered chain, judged again

class EarlierTrust : public ::testing::Test {
 protected:
  EarlierTrust() {
    trust.identity = {"spiffe://example.org/web", {"web"}};
    trust.anchor_name = name_hash(X509_get_subject_name(pki.authority.certificate().x509.get()));
    trust.anchor_key = public_key_hash(pki.authority.certificate().x509.get());
    trust.not_after = wall_clock_now() + std::chrono::hours(1);
    trust.links = {{name_hash(X509_get_subject_name(pki.authority.certificate().x509.get())),
                    std::string("\x07"), trust.anchor_key}};
  }
  std::string_view judged(std::chrono::seconds later = {}) {
    const auto credentials = pki.load();
    EXPECT_TRUE(credentials) << credentials.error().message();
    return to_string((*credentials)->judge(trust, wall_clock_now() + later).result());
  }

  std::string_view revocation(std::chrono::seconds later) {
    return to_string((*pki.load())->judge(trust, wall_clock_now() + later).revocation);
  }

  TestServer pki;
  PeerTrust trust;
};

TEST_F(EarlierTrust, HoldsUnderTheSameAuthority) {
  EXPECT_EQ(judged(), "success");
  EXPECT_EQ(judged(std::chrono::hours(1)), "certificate_expired") << "in its last second";
  pki.files.ca = {{std::nullopt, pki.dir.write("other.pem", TestAuthority("Other").cert_pem())}};
  EXPECT_EQ(judged(), "certificate_authority_invalid");
}

TEST_F(EarlierTrust, IsRevalidatedByTheCurrentScopeOfItsAuthority) {
  pki.files.ca.front().domain = "example.org";
  EXPECT_EQ(judged(), "certificate_authority_invalid") << "a scoped bundle vouches for no DNS name";
  trust.identity.dns.clear();
  EXPECT_EQ(judged(), "success");
  pki.files.ca.front().domain = "example.com";
  EXPECT_EQ(judged(), "certificate_authority_invalid");
  pki.files.ca.push_back({"example.org", pki.files.ca.front().file});
  EXPECT_EQ(judged(), "success") << "one authority may have two scopes";
  trust.identity.spiffe.clear();
  EXPECT_EQ(judged(), "certificate_authority_invalid");
}

TEST_F(EarlierTrust, IsRevalidatedByTheCurrentLists) {
  const auto write = [&](const std::string& crl) {
    pki.files.crls = {pki.dir.write("a.crl", crl)};
  };
  write(pki.authority.crl({8}));
  EXPECT_EQ(judged(), "success");
  write(pki.authority.crl({7}));
  EXPECT_EQ(judged(), "certificate_revoked");
  write(TestAuthority("Other").crl());
  EXPECT_EQ(judged(), "crl_unavailable");
  write(pki.authority.crl({8}, -std::chrono::hours(1)));
  EXPECT_EQ(judged(), "crl_expired");
  pki.settings.accept_expired_crl = true;
  EXPECT_EQ(judged(), "success");
  write(pki.authority.crl({7}, -std::chrono::hours(1)));
  EXPECT_EQ(judged(), "certificate_revoked") << "what an old list says still holds";
}

// Lists overlap while they are exchanged: a fresh one is enough, and any of them revokes.
TEST_F(EarlierTrust, NeedsOneFreshListOfSeveral) {
  const auto fresh = pki.dir.write("fresh.crl", pki.authority.crl({8}));
  const auto old = pki.dir.write("old.crl", pki.authority.crl({8}, -std::chrono::hours(1)));
  for (const auto& files : {std::vector<std::string>{fresh, old}, {old, fresh}}) {
    pki.files.crls = files;
    EXPECT_EQ(judged(), "success");
  }
  pki.files.crls = {fresh,
                    pki.dir.write("revokes.crl", pki.authority.crl({7}, -std::chrono::hours(1)))};
  EXPECT_EQ(judged(), "certificate_revoked");
}

TEST_F(EarlierTrust, IsNotCoveredByAListOfTheFuture) {
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({7}))};
  EXPECT_EQ(revocation(-std::chrono::hours(49)), "crl_unavailable") << "issued 48 hours ago";
}

TEST_F(EarlierTrust, IsJudgedInStepsThatSayByWhat) {
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({7}))};
  JudgementSteps steps;
  const TrustVerdict verdict = (*pki.load())->judge(trust, wall_clock_now(), &steps);
  EXPECT_EQ(verdict.result(), HandshakeResult::kCertificateRevoked);
  std::vector<std::string> said;
  for (const JudgementStep& step : steps)
    said.push_back(std::string(step.subject) + (step.passed ? " passed" : " failed"));
  EXPECT_EQ(said, (std::vector<std::string>{"chain passed", "validity passed", "revocation failed",
                                            "trust domain passed", "identity passed"}));
  EXPECT_NE(steps[0].finding.find("CN=Test Root of "), std::string::npos) << steps[0].finding;
  EXPECT_TRUE(steps[2].finding.starts_with("serial 07: named by the list of "));
  EXPECT_EQ(steps[4].finding, "spiffe://example.org/web");
}

}  // namespace
}  // namespace sallyport::ktls::testing
