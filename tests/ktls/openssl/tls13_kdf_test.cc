#include "ktls/openssl/tls13_kdf.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/openssl/tuned_library.h"
#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

using testing::Bytes;
using testing::random_bytes;

struct Derivation {
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  std::string digest = "SHA2-384";
  std::string prefix = "tls13 ";
  std::string label = "c hs traffic";
  std::optional<Bytes> key = std::nullopt;
  std::optional<Bytes> context = std::nullopt;
  std::optional<Bytes> salt = std::nullopt;
  std::size_t size = 48;
};

/// What the TLS13-KDF of `library` makes of it; nothing if it refuses.
std::optional<Bytes> derive(OSSL_LIB_CTX* library, Derivation asked) {
  std::vector<OSSL_PARAM> parameters{
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &asked.mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, asked.digest.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, asked.prefix.data(),
                                        asked.prefix.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, asked.label.data(),
                                        asked.label.size())};
  const auto add = [&](const char* name, std::optional<Bytes>& bytes) {
    if (bytes)
      parameters.push_back(OSSL_PARAM_construct_octet_string(name, bytes->data(), bytes->size()));
  };
  add(OSSL_KDF_PARAM_KEY, asked.key);
  add(OSSL_KDF_PARAM_DATA, asked.context);
  add(OSSL_KDF_PARAM_SALT, asked.salt);
  parameters.push_back(OSSL_PARAM_construct_end());

  EVP_KDF* kdf = EVP_KDF_fetch(library, OSSL_KDF_NAME_TLS1_3_KDF, nullptr);
  const OpensslPtr<EVP_KDF_CTX, EVP_KDF_CTX_free> context(EVP_KDF_CTX_new(kdf));
  EVP_KDF_free(kdf);
  Bytes out(asked.size);
  const bool done =
      context && EVP_KDF_derive(context.get(), reinterpret_cast<unsigned char*>(out.data()),
                                out.size(), parameters.data()) == 1;
  (void)OpensslError::drain();
  return done ? std::optional(out) : std::nullopt;
}

class Tls13Kdf : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(tuned_library().context, nullptr) << "OpenSSL " << OpenSSL_version(OPENSSL_VERSION);
  }
  static void expect_same(const Derivation& asked) {
    const auto theirs = derive(nullptr, asked);
    const auto ours = derive(tuned_library().context, asked);
    EXPECT_EQ(ours, theirs) << asked.digest << ' ' << asked.mode << ' ' << asked.label << ' '
                            << asked.size;
  }
};

TEST_F(Tls13Kdf, DerivesWhatOpensslDerives) {
  for (const auto& [digest, hash] : {std::pair{"SHA2-256", 32U}, {"SHA2-384", 48U}}) {
    const Bytes secret = random_bytes(hash, 1);
    for (const std::size_t size : {1U, 12U, 16U, 32U, hash}) {
      expect_same({.digest = digest, .label = "key", .key = secret, .size = size});
      expect_same(
          {.digest = digest, .key = secret, .context = random_bytes(hash, 2), .size = size});
    }
    constexpr int kExtract = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    for (const auto& salt : {std::optional<Bytes>(), std::optional(random_bytes(hash, 3))}) {
      expect_same(
          {.mode = kExtract, .digest = digest, .label = "derived", .salt = salt, .size = hash});
      for (const std::size_t shared : {32U, 56U, 64U, 66U})
        expect_same({.mode = kExtract,
                     .digest = digest,
                     .label = "derived",
                     .key = random_bytes(shared, 4),
                     .salt = salt,
                     .size = hash});
    }
  }
}

TEST_F(Tls13Kdf, LeavesWhatTlsDoesNotAskForToOpenssl) {
  const Bytes secret = random_bytes(48, 1);
  expect_same({.digest = "SHA2-512", .key = secret});
  expect_same({.key = secret, .size = 49});
  expect_same({.key = secret, .size = 200});
  expect_same({.prefix = "dtls13", .key = secret});
  expect_same({.label = std::string(30, 'l'), .key = secret});
  expect_same({.key = random_bytes(20, 1)});
  expect_same({.key = secret, .context = random_bytes(64, 2)});
  expect_same({.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, .key = secret});
  expect_same({.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .key = secret});
  expect_same({.key = std::nullopt});
  expect_same({.digest = "no such hash", .key = secret});
}

TEST_F(Tls13Kdf, ReportsSecretsWhileATapExists) {
  const Bytes secret = random_bytes(48, 1);
  ApplicationSecrets secrets;
  const Derivation of_client{.label = "c ap traffic", .key = secret};
  const Derivation of_server{.label = "s ap traffic", .key = secret};
  ASSERT_TRUE(derive(tuned_library().context, of_client));
  EXPECT_TRUE(secrets.client.secret().empty());
  {
    const SecretTap tap(secrets);
    ASSERT_TRUE(derive(tuned_library().context, of_client));
    ASSERT_TRUE(derive(tuned_library().context, {.label = "c hs traffic", .key = secret}));
    EXPECT_TRUE(std::ranges::equal(secrets.client.secret().bytes(), *derive(nullptr, of_client)));
    EXPECT_TRUE(secrets.server.secret().empty());
    ASSERT_TRUE(derive(tuned_library().context, of_server));
    EXPECT_TRUE(std::ranges::equal(secrets.server.secret().bytes(), *derive(nullptr, of_server)));
  }
  ASSERT_TRUE(
      derive(tuned_library().context, {.label = "c ap traffic", .key = random_bytes(48, 2)}));
  EXPECT_TRUE(std::ranges::equal(secrets.client.secret().bytes(), *derive(nullptr, of_client)));
}

TEST_F(Tls13Kdf, IsTriedBeforeItIsUsed) {
  EXPECT_TRUE(derives_as_openssl(tuned_library().context));
  EXPECT_FALSE(derives_as_openssl(nullptr));  // which has no tap
}

}  // namespace
}  // namespace sallyport::ktls
