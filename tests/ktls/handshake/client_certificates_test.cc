// ServerContext::verify_client() says of a client's certificates what its handshake does.
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using Step = ServerHandshake::Step;
using test::Eku;
using test::TestCertificate;

constexpr char kWeb[] = "spiffe://example.org/web";

std::vector<std::vector<std::byte>> ders_of(const std::string& pem) {
  const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<std::vector<std::byte>> ders;
  while (const X509Ptr next{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)}) {
    const std::vector<unsigned char> der = test::to_der(next.get());
    const auto bytes = std::as_bytes(std::span(der));
    ders.emplace_back(bytes.begin(), bytes.end());
  }
  (void)OpensslError::drain();
  return ders;
}

// An extension that no library knows, and that may not be ignored.
TestCertificate with_unknown_critical_extension(const TestCertificate& leaf,
                                                const test::TestAuthority& issuer) {
  TestCertificate changed = leaf;
  const X509Ptr copy(X509_dup(leaf.x509.get()));
  const std::unique_ptr<ASN1_OCTET_STRING, decltype(&ASN1_OCTET_STRING_free)> value(
      ASN1_OCTET_STRING_new(), ASN1_OCTET_STRING_free);
  ASN1_OCTET_STRING_set(value.get(), reinterpret_cast<const unsigned char*>("\5\0"), 2);
  const std::unique_ptr<ASN1_OBJECT, decltype(&ASN1_OBJECT_free)> type(
      OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1), ASN1_OBJECT_free);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509_EXTENSION_create_by_OBJ(nullptr, type.get(), 1, value.get()), X509_EXTENSION_free);
  EXPECT_EQ(X509_add_ext(copy.get(), extension.get(), -1), 1);
  EXPECT_GT(X509_sign(copy.get(), issuer.certificate().key.get(), EVP_sha256()), 0);
  changed.chain_pem = test::to_pem(copy.get());
  return changed;
}

struct Case {
  std::string name;
  TestCertificate client;
};

class ClientCertificates : public ::testing::Test {
 protected:
  Case leaf(std::string name, const test::LeafSpec& spec) const {
    return {std::move(name), pki.authority.issue(spec)};
  }
  Case followed_by(std::string name, TestCertificate client, int times,
                   const std::string& pem) const {
    for (int i = 0; i < times; ++i) client.chain_pem += pem;
    return {std::move(name), std::move(client)};
  }

  std::vector<Case> cases() const {
    using std::chrono::hours;
    using enum test::KeyType;
    const test::TestAuthority sub = pki.authority.intermediate();
    const test::TestAuthority expired =
        pki.authority.intermediate("Expired", kEcdsaP256, -hours(1));
    const test::TestAuthority stranger("Stranger");
    const test::TestAuthority twin("Test Root");  // the name of ours, and another key
    const TestCertificate web = pki.authority.issue({.spiffe = {kWeb}});
    TestCertificate alone = sub.issue({.spiffe = {kWeb}});
    alone.chain_pem = alone.cert_pem;
    const auto explicit_key = test::make_key(kEcdsaP256);
    EVP_PKEY_set_utf8_string_param(explicit_key.get(), OSSL_PKEY_PARAM_EC_ENCODING, "explicit");
    test::LeafSpec wide;
    for (int i = 0; i < 1'700; ++i)
      wide.dns.push_back("name-" + std::to_string(10'000 + i) + ".example.org");
    return {
        {"SPIFFE", web},
        leaf("dns", {.dns = {"a.example.org", "b.example.org"}}),
        leaf("both", {.dns = {"a.example.org"}, .spiffe = {kWeb}}),
        leaf("no name", {}),
        leaf("address", {.ip = {"192.0.2.1"}}),
        leaf("two SPIFFE IDs", {.spiffe = {kWeb, "spiffe://example.org/other"}}),
        leaf("percent", {.spiffe = {"spiffe://example.org/a%62"}}),
        leaf("dot segment", {.spiffe = {"spiffe://example.org/a/../b"}}),
        leaf("control", {.dns = {std::string("a\0b.example.org", 15)}}),
        leaf("CA:TRUE", {.spiffe = {kWeb}, .ca = true}),
        leaf("expired", {.spiffe = {kWeb}, .not_before = -hours(3), .not_after = -hours(1)}),
        leaf("early", {.spiffe = {kWeb}, .not_before = hours(1)}),
        leaf("clientAuth", {.spiffe = {kWeb}, .eku = Eku::kClientAuth}),
        leaf("serverAuth", {.spiffe = {kWeb}, .eku = Eku::kServerAuth}),
        leaf("other usage", {.spiffe = {kWeb}, .eku = Eku::kOther}),
        leaf("no usage", {.spiffe = {kWeb}, .eku = Eku::kAbsent}),
        leaf("P-384", {.spiffe = {kWeb}, .key_type = kEcdsaP384}),
        leaf("RSA", {.spiffe = {kWeb}, .key_type = kRsa2048}),
        leaf("Ed25519", {.spiffe = {kWeb}, .key_type = kEd25519}),
        {"self-signed", test::self_signed({.spiffe = {kWeb}})},
        {"unknown", stranger.issue({.spiffe = {kWeb}})},
        {"unknown of a known name", twin.issue({.spiffe = {kWeb}})},
        {"intermediate", sub.issue({.spiffe = {kWeb}})},
        {"intermediate that is missing", alone},
        {"intermediate that expired", expired.issue({.spiffe = {kWeb}})},
        followed_by("the root", web, 1, pki.authority.cert_pem()),
        followed_by("nine others", web, 9, stranger.cert_pem()),
        followed_by("ten others", web, 10, stranger.cert_pem()),
        {"unknown critical extension", with_unknown_critical_extension(web, pki.authority)},
        {"curve without a name", pki.authority.issue({.spiffe = {kWeb}}, explicit_key)},
        {"too large", pki.authority.issue(wide)},
    };
  }

  void expect_the_same_of(const Case& each) const {
    const auto context = pki.context();
    RoutedHandshake server(context, any_route());
    MemoryClient client({.certificate = &each.client});
    const Step last = shuttle(server, client);
    deliver(server, client);

    const auto verified = context->verify_client(ders_of(each.client.chain_pem));

    ASSERT_EQ(verified.has_value(), last == Step::kDone) << each.name << server.failure().detail;
    if (verified) {
      server.intern_trust();
      EXPECT_EQ(**verified, *server.outcome().trust) << each.name;
      return;
    }
    const HandshakeFailure& failure = verified.error().failure;
    EXPECT_EQ(to_string(failure.result), to_string(server.failure().result)) << each.name;
    EXPECT_EQ(static_cast<int>(verified.error().alert), client.alert()) << each.name;
    if (failure.presented == nullptr) return;  // OpenSSL's words of what it does not decode
    EXPECT_EQ(failure.detail, server.failure().detail) << each.name;
    EXPECT_EQ(failure.serial, server.failure().serial) << each.name;
  }

  TestServer pki;
};

TEST_F(ClientCertificates, AreJudgedWithoutAHandshakeAsInOne) {
  for (const Case& each : cases()) expect_the_same_of(each);
}

TEST_F(ClientCertificates, AreJudgedSoUnderEverySettingOfTrust) {
  pki.settings.client_eku = ClientEku::kRequire;
  for (const Case& each : cases()) expect_the_same_of(each);
  pki.settings.client_eku = ClientEku::kIgnore;
  pki.settings.partial_chain = true;
  pki.files.ca.front().domain = "example.org";
  for (const Case& each : cases()) expect_the_same_of(each);
}

TEST_F(ClientCertificates, AreJudgedSoByRevocation) {
  std::vector<Case> all = cases();
  pki.files.crls = {pki.dir.write("root.crl", pki.authority.crl({all.front().client.serial}))};
  for (const Case& each : all) expect_the_same_of(each);
  pki.files.crls = {pki.dir.write("lapsed.crl", pki.authority.crl({}, std::chrono::hours(-1)))};
  for (const Case& each : all) expect_the_same_of(each);
}

TEST_F(ClientCertificates, AreJudgedByTrustAlone) {
  pki.files.pairs = {{"/nowhere/own.pem", "/nowhere/own.key"}};
  pki.files.ticket_keys = "/nowhere/tickets";
  pki.files.trust_only = true;
  const auto context = pki.context();
  ASSERT_NE(context, nullptr);
  EXPECT_TRUE(context->credentials().files().size() == 1);
  EXPECT_TRUE(context->verify_client(ders_of(pki.client().chain_pem)).has_value());
}

TEST_F(ClientCertificates, MayBeNoCertificates) {
  for (const std::string_view bytes : {"", "0", "not DER at all", "\x30\x80"}) {
    const auto raw = std::as_bytes(std::span(bytes));
    const std::vector<std::vector<std::byte>> certificates{{raw.begin(), raw.end()}};
    const auto verified = pki.context()->verify_client(certificates);
    ASSERT_FALSE(verified.has_value());
    EXPECT_EQ(verified.error().failure.result, HandshakeResult::kCertificateVerificationFailed);
    EXPECT_EQ(verified.error().alert, AlertDescription::kDecodeError);
  }
}

}  // namespace
}  // namespace sallyport::ktls::testing
