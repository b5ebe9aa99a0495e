#include "ktls/records/cipher_contexts.h"

#include <gtest/gtest.h>

#include <list>

#include "ktls/records/record_protection.h"
#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

using testing::Bytes;

/// One direction and its peer, in shards of their own.
struct Pair {
  Pair(CipherContexts& ours, CipherContexts& theirs, CipherSuite suite, std::uint64_t seed)
      : sealer(ours, suite, {testing::secret_of(suite, seed), 0}),
        opener(theirs, suite, {testing::secret_of(suite, seed), 0}) {}

  bool carries(std::span<const std::byte> content) {
    const iovec span = testing::span_of(content);
    PlaintextCursor cursor{std::span(&span, 1)};
    Bytes record(sealed_size(content.size()));
    return sealer.seal(ContentType::kApplicationData, cursor, record) && opener.open(record);
  }

  RecordSealer sealer;
  RecordOpener opener;
};

TEST(CipherContexts, LendsNoneToIdleDirections) {
  CipherContexts ours(8), theirs(8);
  std::list<Pair> pairs;
  for (std::uint64_t i = 0; i < 100; ++i) {
    pairs.emplace_back(ours, theirs, CipherSuite::kAes128GcmSha256, i);
  }
  EXPECT_EQ(ours.live_contexts(), 0u);
}

TEST(CipherContexts, KeysABusyDirectionOnce) {
  CipherContexts ours(8), theirs(8);
  Pair pair(ours, theirs, CipherSuite::kAes256GcmSha384, 1);
  const Bytes content(100);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(pair.carries(content));
  EXPECT_EQ(ours.keyings(), 1u);
  EXPECT_EQ(theirs.keyings(), 1u);
}

TEST(CipherContexts, ServesMoreDirectionsThanThereAreContexts) {
  CipherContexts ours(4), theirs(4);
  std::list<Pair> pairs;
  for (std::uint64_t i = 0; i < 30; ++i) {
    pairs.emplace_back(ours, theirs, testing::kSuites[i % 3], i);
  }
  const Bytes content(100);
  for (int round = 0; round < 5; ++round) {
    for (Pair& pair : pairs) ASSERT_TRUE(pair.carries(content));
  }
  EXPECT_EQ(ours.live_contexts(), 4u);
  EXPECT_EQ(ours.keyings(), 150u);
}

TEST(CipherContexts, ReusesTheLeastRecentlyUsed) {
  CipherContexts ours(2), theirs(8);
  Pair a(ours, theirs, CipherSuite::kAes128GcmSha256, 1);
  Pair b(ours, theirs, CipherSuite::kAes128GcmSha256, 2);
  Pair c(ours, theirs, CipherSuite::kAes128GcmSha256, 3);
  const Bytes content(10);
  ASSERT_TRUE(a.carries(content));
  ASSERT_TRUE(b.carries(content));
  ASSERT_TRUE(a.carries(content));
  ASSERT_TRUE(c.carries(content));  // takes b's
  EXPECT_EQ(ours.keyings(), 3u);
  ASSERT_TRUE(a.carries(content));
  EXPECT_EQ(ours.keyings(), 3u);
  ASSERT_TRUE(b.carries(content));
  EXPECT_EQ(ours.keyings(), 4u);
}

TEST(CipherContexts, ReusesThatOfAClosedDirectionFirst) {
  CipherContexts ours(2), theirs(8);
  Pair a(ours, theirs, CipherSuite::kAes128GcmSha256, 1);
  const Bytes content(10);
  {
    Pair b(ours, theirs, CipherSuite::kAes128GcmSha256, 2);
    ASSERT_TRUE(a.carries(content));
    ASSERT_TRUE(b.carries(content));
  }
  Pair c(ours, theirs, CipherSuite::kChaCha20Poly1305Sha256, 3);
  ASSERT_TRUE(c.carries(content));
  ASSERT_TRUE(a.carries(content));
  EXPECT_EQ(ours.keyings(), 3u);
  EXPECT_EQ(ours.live_contexts(), 2u);
}

TEST(CipherContexts, UsesTheNewKeyAfterARekeyThatHeldAContext) {
  CipherContexts ours(2), theirs(2);
  Pair pair(ours, theirs, CipherSuite::kAes128GcmSha256, 1);
  const Bytes content(10);
  ASSERT_TRUE(pair.carries(content));
  pair.sealer.next_generation();
  EXPECT_FALSE(pair.carries(content));
}

}  // namespace
}  // namespace sallyport::ktls
