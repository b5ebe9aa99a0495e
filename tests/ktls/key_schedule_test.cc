#include "ktls/key_schedule.h"

#include <gtest/gtest.h>

#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

using testing::Bytes;
using testing::from_hex;

Bytes expand(CipherSuite suite, const Bytes& secret, std::string_view label, const Bytes& context,
             std::size_t size) {
  Bytes out(size);
  expand_label(suite, secret, label, context, out);
  return out;
}

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

// RFC 8448 section 3, "Simple 1-RTT Handshake", TLS_AES_128_GCM_SHA256.
const Bytes kEarlySecret = from_hex(
    "33 ad 0a 1c 60 7e c0 3b 09 e6 cd 98 93 68 0c e2 10 ad f3 00 aa 1f 26 60 e1 b2 2e 10 f1 70 f9 "
    "2a");
const Bytes kSharedSecret = from_hex(
    "8b d4 05 4f b5 5b 9d 63 fd fb ac f9 f0 4b 9f 0d 35 e6 d6 3f 53 75 63 ef d4 62 72 90 0f 89 49 "
    "2d");
const Bytes kHandshakeSecret = from_hex(
    "1d c8 26 e9 36 06 aa 6f dc 0a ad c1 2f 74 1b 01 04 6a a6 b9 9f 69 1e d2 21 a9 f0 ca 04 3f be "
    "ac");
const Bytes kMasterSecret = from_hex(
    "18 df 06 84 3d 13 a0 8b f2 a4 49 84 4c 5f 8a 47 80 01 bc 4d 4c 62 79 84 d5 a4 1d a8 d0 40 29 "
    "19");
const Bytes kTranscriptHash = from_hex(
    "96 08 10 2a 0f 1c cc 6d b6 25 0b 7b 7e 41 7b 1a 00 0e aa da 3d aa e4 77 7a 76 86 c9 ff 83 df "
    "13");
const Bytes kClientSecret = from_hex(
    "9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 "
    "a5");
const Bytes kServerSecret = from_hex(
    "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 "
    "43");

TEST(KeySchedule, OfRfc8448GoesFromNothingToTheMasterSecret) {
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

TEST(KeySchedule, OfRfc8448GoesFromTheMasterSecretToTrafficSecrets) {
  constexpr auto kSuite = CipherSuite::kAes128GcmSha256;
  EXPECT_EQ(expand(kSuite, kMasterSecret, "c ap traffic", kTranscriptHash, 32), kClientSecret);
  EXPECT_EQ(expand(kSuite, kMasterSecret, "s ap traffic", kTranscriptHash, 32), kServerSecret);
}

// The expected values come from an independent HKDF (Python's hmac and hashlib). Hashes of both
// sizes in turn: each has a state of its own.
TEST(KeySchedule, WorksWithBothHashesInTurn) {
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
  EXPECT_DEATH(expand(kSuite, kMasterSecret, "key", {}, 33), "more than one hash asked for");
  EXPECT_DEATH(expand(kSuite, kMasterSecret, std::string(kMaxLabel + 1, 'x'), {}, 32),
               "label too long");
  EXPECT_DEATH(expand(kSuite, kMasterSecret, "key", Bytes(kMaxHashSize + 1), 32),
               "context too long");
  EXPECT_DEATH(expand(kSuite, Bytes(65), "key", {}, 32), "a key longer than a block");
}

}  // namespace
}  // namespace sallyport::ktls
