#include "ktls/keys/key_schedule.h"

#include <gtest/gtest.h>

#include "tests/ktls/bytes.h"
#include "tests/ktls/keys/rfc8448.h"

namespace sallyport::ktls {
namespace {

using namespace testing::rfc8448;
using testing::Bytes;
using testing::counting;
using testing::from_hex;

Bytes expand(CipherSuite suite, const Bytes& secret, std::string_view label, const Bytes& context,
             std::size_t size) {
  Bytes out(size);
  expand_label(suite, secret, label, context, out);
  return out;
}

TEST(KeySchedule, FollowsRfc8448FromNothingToTheMasterSecret) {
  constexpr auto kSuite = CipherSuite::kAes128GcmSha256;
  const Bytes zeros(32);
  Bytes out(32);
  extract(kSuite, {}, zeros, out);
  EXPECT_EQ(out, kEarlySecret);
  next_stage(kSuite, kEarlySecret, kSharedSecret, out);
  EXPECT_EQ(out, kHandshakeSecret);
  next_stage(kSuite, kHandshakeSecret, zeros, out);
  EXPECT_EQ(out, kMasterSecret);
}

TEST(KeySchedule, FollowsRfc8448FromTheMasterSecretToTrafficSecrets) {
  constexpr auto kSuite = CipherSuite::kAes128GcmSha256;
  EXPECT_EQ(expand(kSuite, kMasterSecret, "c ap traffic", kTranscriptHash, 32), kClientSecret);
  EXPECT_EQ(expand(kSuite, kMasterSecret, "s ap traffic", kTranscriptHash, 32), kServerSecret);
}

// The expected values come from an independent HKDF (Python's hmac and hashlib). Hashes of both
// sizes alternately: each has a state of its own.
TEST(KeySchedule, WorksWithBothHashesAlternately) {
  constexpr auto kSuite = CipherSuite::kAes256GcmSha384;
  const Bytes zeros(32);
  for (int round = 0; round < 2; ++round) {
    Bytes early(48);
    extract(kSuite, {}, counting(48), early);
    EXPECT_EQ(early, from_hex("360732e7447a7e51164ebc696c02061ead7f37c94691c4c830c8bb5ccc75ad69aa72"
                              "ba3bc5d8112486c6d0c5c6b9e0be"));
    Bytes next(48);
    next_stage(kSuite, early, counting(32), next);
    EXPECT_EQ(next, from_hex("ab9fcbe2bd0bae381f6a027c5f51f698a7df331a6b5f52d7633423f42781489a0f28f"
                             "4dd2d6554c50f86c097253f2491"));
    Bytes other(32);
    extract(CipherSuite::kChaCha20Poly1305Sha256, {}, zeros, other);
    EXPECT_EQ(other, kEarlySecret);
  }
}

TEST(KeyScheduleDeathTest, RefusesWhatTls13NeverAsksFor) {
  constexpr auto kSuite = CipherSuite::kAes128GcmSha256;
  EXPECT_DEATH(expand(kSuite, kMasterSecret, "key", {}, 33), "gives at most one hash");
  EXPECT_DEATH(expand(kSuite, kMasterSecret, std::string(kMaxLabel + 1, 'x'), {}, 32),
               "a label of the key schedule is short");
  EXPECT_DEATH(expand(kSuite, kMasterSecret, "key", Bytes(kMaxHashSize + 1), 32),
               "a context of the key schedule is at most one hash");
  EXPECT_DEATH(expand(kSuite, Bytes(65), "key", {}, 32), "an HMAC key is at most one block long");
}

}  // namespace
}  // namespace sallyport::ktls
