// Clients whose certificates are expensive to decode: they are refused before OpenSSL does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "ktls/handshake/server_handshake.h"
#include "ktls/trust/certificate_message.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using Step = ServerHandshake::Step;
using ::testing::HasSubstr;

// P-256, named or by its parameters.
std::shared_ptr<EVP_PKEY> p256_key(bool named) {
  std::shared_ptr<EVP_PKEY> key = test::make_key(test::KeyType::kEcdsaP256);
  EXPECT_EQ(EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_ENCODING,
                                           named ? "named_curve" : "explicit"),
            1);
  return key;
}

std::span<const std::byte> der_of(const std::vector<unsigned char>& der) {
  return std::as_bytes(std::span(der));
}

class HostileCertificates : public ::testing::TestWithParam<int> {
 protected:
  // What the server says to a client with `leaf` and `more` behind it.
  HandshakeFailure refusal_of(const test::TestCertificate& leaf,
                              const std::vector<test::TestCertificate>& more) {
    pki.settings.min_version = RecordVersion::kTls12;
    RoutedHandshake server(pki.context(), any_route());
    MemoryClient client(
        {.certificate = &leaf, .min_version = GetParam(), .max_version = GetParam()});
    for (const test::TestCertificate& each : more)
      EXPECT_EQ(SSL_add1_chain_cert(client.ssl(), each.x509.get()), 1);
    if (shuttle(server, client) != Step::kFailed) return {.result = HandshakeResult::kSuccess};
    return server.failure();
  }

  TestServer pki;
  test::TestCertificate certificate = pki.client();
};

TEST_P(HostileCertificates, WithACurveThatHasNoNameAreNotDecoded) {
  const auto explicit_key = pki.authority.issue({}, p256_key(false));
  for (const auto& failure :
       {refusal_of(explicit_key, {}), refusal_of(certificate, {explicit_key})}) {
    EXPECT_EQ(to_string(failure.result), "certificate_verification_failed");
    EXPECT_THAT(failure.detail, HasSubstr("curve without a name"));
  }
}

TEST_P(HostileCertificates, MayBeTenAndNoMore) {
  const std::vector<test::TestCertificate> nine(9, certificate);
  EXPECT_EQ(refusal_of(certificate, nine).result, HandshakeResult::kSuccess);
  const std::vector<test::TestCertificate> ten(10, certificate);
  EXPECT_EQ(refusal_of(certificate, ten).detail, "more than 10 certificates");
}

TEST_P(HostileCertificates, AreNoLargerThanAChain) {
  test::LeafSpec spec;
  for (int i = 0; i < 1'700; ++i)
    spec.dns.push_back("name-" + std::to_string(10'000 + i) + ".example.org");
  const auto large = pki.authority.issue(spec);
  const HandshakeFailure failure = refusal_of(large, {});
  EXPECT_EQ(to_string(failure.result), "unexpected_message") << failure.detail;
}

INSTANTIATE_TEST_SUITE_P(Each, HostileCertificates,
                         ::testing::Values(TLS1_3_VERSION, TLS1_2_VERSION));

TEST(PlainKey, IsThatOfEveryKindThatSignsCertificates) {
  const test::TestAuthority authority;
  using enum test::KeyType;
  for (const test::KeyType type : {kEcdsaP256, kEcdsaP384, kRsa2048, kEd25519})
    EXPECT_TRUE(
        has_plain_key(der_of(test::to_der(authority.issue({.key_type = type}).x509.get()))));
  EXPECT_TRUE(has_plain_key(der_of(test::to_der(authority.issue({}, p256_key(true)).x509.get()))));
  EXPECT_FALSE(
      has_plain_key(der_of(test::to_der(authority.issue({}, p256_key(false)).x509.get()))));
}

TEST(PlainKey, IsNotFoundInWhatIsNoDer) {
  const test::TestAuthority authority;
  const auto der = test::to_der(authority.certificate().x509.get());
  for (std::size_t size = 0; size < 100; ++size)
    EXPECT_FALSE(has_plain_key(der_of(der).first(size))) << size;
  auto indefinite = der;  // SEQUENCE of a length that is left open, as BER allows
  indefinite[1] = 0x80;
  indefinite.erase(indefinite.begin() + 2, indefinite.begin() + 4);
  indefinite.insert(indefinite.end(), {0, 0});
  EXPECT_FALSE(has_plain_key(der_of(indefinite)));
}

}  // namespace
}  // namespace sallyport::ktls::testing
