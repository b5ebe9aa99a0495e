#include "ktls/keys/key_block.h"

#include <gtest/gtest.h>

#include "ktls/records/record.h"
#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

using testing::Bytes;
using testing::from_hex;

Bytes bytes_of(const TrafficSecret& secret) {
  return {secret.bytes().begin(), secret.bytes().end()};
}

/// NIST CAVP, TLS 1.2 key derivation with SHA-256, the first of its vectors: how a key block of 128
/// bytes begins. Facing OpenSSL (record_openssl_test.cc) tells that the parts are where they
/// belong.
TEST(KeyBlock, MatchesTheTestVectorCutIntoKeysAndIvs) {
  const Bytes master_secret = from_hex(
      "202c88c00f84a17a20027079604787461176455539e705be730890602c289a50"
      "01e34eeb3a043e5d52a65e66125188bf");
  const Bytes server_random =
      from_hex("ae6c806f8ad4d80784549dff28a4b58fd837681a51d928c3e30ee5ff14f39868");
  const Bytes client_random =
      from_hex("62e1fd91f23f558a605f28478c58cf72637b89784d959df7e946d3f07bd1b616");
  const auto gcm =
      key_block(CipherSuite::kAes128GcmSha256, master_secret, client_random, server_random);
  ASSERT_TRUE(gcm);
  EXPECT_EQ(bytes_of(gcm->client), from_hex("d06139889fffac1e3a71865f504aa5d0"
                                            "016a2530"));
  EXPECT_EQ(bytes_of(gcm->server), from_hex("d2a2e89506c6f2279b670c3e1b74f531"
                                            "c51a3a0f"));
  const auto chacha =
      key_block(CipherSuite::kChaCha20Poly1305Sha256, master_secret, client_random, server_random);
  ASSERT_TRUE(chacha);
  EXPECT_EQ(bytes_of(chacha->client),
            from_hex("d06139889fffac1e3a71865f504aa5d0d2a2e89506c6f2279b670c3e1b74f531"
                     "6f2f81410b25e6960be68985"));
  EXPECT_EQ(bytes_of(chacha->server),
            from_hex("016a2530c51a3a0f7e1d6590d0f0566b2f387f8d11fd4f731cdd572d2eae927f"
                     "add6c38445ad9f8c64bf8068"));
}

TEST(KeyBlock, GivesTheRecordKeys) {
  for (const CipherSuite suite : testing::kSuites) {
    const auto block = key_block(suite, Bytes(48), Bytes(32), Bytes(32));
    ASSERT_TRUE(block);
    EXPECT_NE(bytes_of(block->client), bytes_of(block->server));
    const RecordKey key = derive_key(suite, block->client, RecordVersion::kTls12);
    Bytes both(key.key.begin(), key.key.begin() + static_cast<long>(key_size(suite)));
    testing::append(both, std::span(key.iv).first(fixed_iv_size(suite)));
    EXPECT_EQ(both, bytes_of(block->client));
    for (const std::byte byte : std::span(key.iv).subspan(fixed_iv_size(suite))) {
      EXPECT_EQ(byte, std::byte{0}) << "where the explicit part of the nonce goes";
    }
  }
}

TEST(KeyBlock, IsRefusedAsTheSecretOfAnotherSuite) {
  const auto block = key_block(CipherSuite::kAes128GcmSha256, Bytes(48), Bytes(32), Bytes(32));
  ASSERT_TRUE(block);
  EXPECT_DEATH(
      (void)derive_key(CipherSuite::kAes256GcmSha384, block->client, RecordVersion::kTls12),
      "a secret of TLS 1.2 is a part of the key block");
}

}  // namespace
}  // namespace sallyport::ktls
