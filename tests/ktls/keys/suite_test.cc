#include "ktls/keys/suite.h"

#include <gtest/gtest.h>

#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

TEST(CipherSuite, IsFoundByCodePointAndByName) {
  for (const CipherSuite suite : testing::kSuites) {
    EXPECT_EQ(suite_from_code_point(static_cast<std::uint16_t>(suite)), suite);
    EXPECT_EQ(suite_from_name(name(suite)), suite);
  }
  EXPECT_FALSE(suite_from_code_point(0x1304));  // AES-CCM
  EXPECT_FALSE(suite_from_code_point(0xc009));  // TLS 1.2 with CBC
  EXPECT_FALSE(suite_from_name("TLS_AES_128_CCM_SHA256"));
  EXPECT_FALSE(suite_from_name(""));
}

TEST(CipherSuite, HasTheSizesOfItsCipherAndHash) {
  EXPECT_EQ(key_size(CipherSuite::kAes128GcmSha256), 16u);
  EXPECT_EQ(key_size(CipherSuite::kAes256GcmSha384), 32u);
  EXPECT_EQ(key_size(CipherSuite::kChaCha20Poly1305Sha256), 32u);
  EXPECT_EQ(hash_size(CipherSuite::kAes128GcmSha256), 32u);
  EXPECT_EQ(hash_size(CipherSuite::kAes256GcmSha384), 48u);
  EXPECT_EQ(hash_size(CipherSuite::kChaCha20Poly1305Sha256), 32u);
}

TEST(CipherSuite, ReplacesGcmKeysBeforeTheLimitOfRfc8446) {
  constexpr std::uint64_t kTwoTo24And5Tenths = 23726566;
  EXPECT_LE(record_limit(CipherSuite::kAes128GcmSha256), kTwoTo24And5Tenths);
  EXPECT_LE(record_limit(CipherSuite::kAes256GcmSha384), kTwoTo24And5Tenths);
}

}  // namespace
}  // namespace sallyport::ktls
