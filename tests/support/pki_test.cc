#include "tests/support/pki.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "tests/support/temp_dir.h"

namespace sallyport::test {
namespace {

int verify(const TestAuthority& root, const TestCertificate& leaf, const X509* intermediate,
           const std::string& crl_pem = "") {
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, root.certificate().x509.get());
  if (!crl_pem.empty()) {
    BIO* bio = BIO_new_mem_buf(crl_pem.data(), static_cast<int>(crl_pem.size()));
    X509_CRL* crl = PEM_read_bio_X509_CRL(bio, nullptr, nullptr, nullptr);
    X509_STORE_add_crl(store, crl);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    X509_CRL_free(crl);
    BIO_free(bio);
  }
  STACK_OF(X509)* untrusted = sk_X509_new_null();
  if (intermediate != nullptr) sk_X509_push(untrusted, const_cast<X509*>(intermediate));
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, leaf.x509.get(), untrusted);
  X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
  X509_verify_cert(context);
  const int error = X509_STORE_CTX_get_error(context);
  X509_STORE_CTX_free(context);
  sk_X509_free(untrusted);
  X509_STORE_free(store);
  return error;
}

class EachKeyType : public ::testing::TestWithParam<KeyType> {};

TEST_P(EachKeyType, MakesLeavesThatVerifyThroughAnIntermediate) {
  const TestAuthority root("root", GetParam());
  const TestAuthority issuing = root.intermediate("issuing", GetParam());
  const TestCertificate leaf =
      issuing.issue({.spiffe = {"spiffe://example.org/a"}, .key_type = GetParam()});
  EXPECT_EQ(verify(root, leaf, issuing.certificate().x509.get()), X509_V_OK);
  EXPECT_EQ(verify(root, leaf, nullptr), X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
  EXPECT_EQ(leaf.chain_pem, leaf.cert_pem + issuing.cert_pem());
}

INSTANTIATE_TEST_SUITE_P(Pki, EachKeyType,
                         ::testing::Values(KeyType::kEcdsaP256, KeyType::kEcdsaP384,
                                           KeyType::kRsa2048, KeyType::kEd25519));

TEST(Pki, MakesExpiredNotYetValidAndWrongPurposeLeaves) {
  using std::chrono::hours;
  const TestAuthority root;
  EXPECT_EQ(verify(root, root.issue({.not_before = hours(-3), .not_after = hours(-1)}), nullptr),
            X509_V_ERR_CERT_HAS_EXPIRED);
  EXPECT_EQ(verify(root, root.issue({.not_before = hours(1)}), nullptr),
            X509_V_ERR_CERT_NOT_YET_VALID);
  EXPECT_EQ(verify(root, root.issue({.eku = Eku::kServerAuth}), nullptr),
            X509_V_ERR_INVALID_PURPOSE);
}

TEST(Pki, RevokesBySerialAndLetsListsExpire) {
  const TestAuthority root;
  const TestCertificate good = root.issue({});
  const TestCertificate bad = root.issue({});
  EXPECT_EQ(verify(root, good, nullptr, root.crl({bad.serial})), X509_V_OK);
  EXPECT_EQ(verify(root, bad, nullptr, root.crl({bad.serial})), X509_V_ERR_CERT_REVOKED);
  EXPECT_EQ(verify(root, good, nullptr, root.crl({}, std::chrono::hours(-1))),
            X509_V_ERR_CRL_HAS_EXPIRED);
}

TEST(TempDir, WritesSecretsForTheOwnerOnlyAndVanishes) {
  std::filesystem::path kept;
  {
    TempDir dir;
    const auto file = dir.write_secret("key.pem", "secret");
    struct stat info{};
    ASSERT_EQ(::stat(file.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
    kept = dir.path();
  }
  EXPECT_FALSE(std::filesystem::exists(kept));
}

}  // namespace
}  // namespace sallyport::test
