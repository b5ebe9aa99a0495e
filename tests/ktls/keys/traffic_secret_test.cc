#include "ktls/keys/traffic_secret.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/ktls/bytes.h"
#include "tests/ktls/keys/rfc8448.h"

namespace sallyport::ktls {
namespace {

using namespace testing::rfc8448;
using testing::Bytes;
using testing::from_hex;

TEST(TrafficSecret, GivesKeyAndIvOfRfc8448) {
  constexpr auto kSuite = CipherSuite::kAes128GcmSha256;
  const RecordKey client = derive_key(kSuite, TrafficSecret(kClientSecret));
  EXPECT_EQ(Bytes(client.key.begin(), client.key.begin() + 16),
            from_hex("17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51"));
  EXPECT_EQ(Bytes(client.iv.begin(), client.iv.end()),
            from_hex("5b 78 92 3d ee 08 57 90 33 e5 23 d9"));
  const RecordKey server = derive_key(kSuite, TrafficSecret(kServerSecret));
  EXPECT_EQ(Bytes(server.key.begin(), server.key.begin() + 16),
            from_hex("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56"));
  EXPECT_EQ(Bytes(server.iv.begin(), server.iv.end()),
            from_hex("cf 78 2b 88 dd 83 54 9a ad f1 e9 84"));
}

// The expected values below come from an independent HKDF (Python's hmac and hashlib).
TEST(TrafficSecret, GivesKeyIvAndNextSecretOfEachSuite) {
  struct Expected {
    CipherSuite suite;
    std::string_view key, iv, next;
  };
  const Expected expected[] = {
      {CipherSuite::kAes256GcmSha384,
       "6877d022f1c61d24ebb7487c16752d9a4798e40431c75b39320e537c90e23225",
       "42822531a0fe88648fc09e9f",
       "401331b63e9d59f202e8f041042d9516f4cd7fa2e2ee14631d3b49fc340d7af37fc2c0c9f252d8036f81ec5b85c"
       "be5db"},
      {CipherSuite::kChaCha20Poly1305Sha256,
       "2ffbc449e87844051c7768f61ffd8ad070830f01ec2c520ef65f08e8296dffa0",
       "2f41c846a431a163814bcd71",
       "2cecd0a17506ef5fa73edc062d6e7b5397cf074ec1b4d8f99a120772932f0b45"},
      {CipherSuite::kAes128GcmSha256, "9c9783cf77ea32d44f369da41f19f3cc",
       "2f41c846a431a163814bcd71",
       "2cecd0a17506ef5fa73edc062d6e7b5397cf074ec1b4d8f99a120772932f0b45"},
  };
  for (const auto& [suite, key, iv, next] : expected) {
    SCOPED_TRACE(name(suite));
    const TrafficSecret secret(testing::counting(hash_size(suite)));
    const RecordKey derived = derive_key(suite, secret);
    EXPECT_TRUE(std::ranges::equal(std::span(derived.key).first(key_size(suite)), from_hex(key)));
    EXPECT_TRUE(std::ranges::equal(derived.iv, from_hex(iv)));
    EXPECT_TRUE(std::ranges::equal(next_secret(suite, secret).bytes(), from_hex(next)));
  }
}

TEST(TrafficSecret, IsEmptyAndCleansedOnceMovedFrom) {
  TrafficSecret from = testing::secret_of(CipherSuite::kAes256GcmSha384, 1);
  const Bytes before(from.bytes().begin(), from.bytes().end());
  const std::byte* const storage = from.bytes().data();
  const TrafficSecret to = std::move(from);
  EXPECT_TRUE(std::ranges::equal(to.bytes(), before));
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_TRUE(std::all_of(storage, storage + kMaxHashSize,
                          [](std::byte byte) { return byte == std::byte{0}; }));
}

// A key that stayed behind a new secret would seal under what the peer does not open.
TEST(DirectionState, HasTheKeyOfItsSecretWhicheverWayItIsSet) {
  constexpr CipherSuite kSuite = CipherSuite::kAes256GcmSha384;
  const TrafficSecret one = testing::secret_of(kSuite, 1);
  const TrafficSecret other = testing::secret_of(kSuite, 2);
  DirectionState state(one, 7);
  EXPECT_FALSE(state.has_key());
  state.keep_key(kSuite);
  EXPECT_TRUE(state.has_key());
  EXPECT_EQ(state.key(kSuite).key, derive_key(kSuite, one).key);

  DirectionState moved = std::move(state);
  EXPECT_EQ(moved.rec_seq, 7U);
  EXPECT_TRUE(moved.has_key());
  EXPECT_FALSE(state.has_key());  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_TRUE(state.secret().empty());

  moved = DirectionState(other);
  EXPECT_FALSE(moved.has_key());
  EXPECT_EQ(moved.key(kSuite).key, derive_key(kSuite, other).key);
}

TEST(TrafficSecretDeathTest, RefusesMoreThanAnyHash) {
  EXPECT_DEATH(TrafficSecret(testing::random_bytes(kMaxHashSize + 1, 1)),
               "a traffic secret is at most one hash");
}

}  // namespace
}  // namespace sallyport::ktls
