#include "ktls/records/record_protection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

using testing::append;
using testing::Bytes;
using testing::from_hex;
using testing::random_bytes;
using testing::secret_of;
using testing::span_of;

/// Seals `content` and returns the records.
Bytes seal(RecordSealer& sealer, ContentType type, std::span<const std::byte> content) {
  const iovec span = span_of(content);
  PlaintextCursor cursor{std::span(&span, 1)};
  Bytes out(sealed_size(content.size(), record_overhead(sealer.version(), sealer.suite())));
  const auto size = sealer.seal(type, cursor, out);
  EXPECT_TRUE(size);
  EXPECT_EQ(cursor.remaining(), 0u);
  out.resize(size.value_or(0));
  return out;
}

/// One record around `inner`, which the caller lays out: content, type, padding.
Bytes seal_inner(CipherSuite suite, const DirectionState& state, std::span<const std::byte> inner) {
  const RecordKey key = derive_key(suite, state.secret());
  Bytes record(kRecordHeaderSize + inner.size() + kTagSize);
  const auto header = RecordHeader{ContentType::kApplicationData,
                                   static_cast<std::uint16_t>(inner.size() + kTagSize)}
                          .serialise();
  std::ranges::copy(header, record.begin());
  std::ranges::copy(inner, record.begin() + kRecordHeaderSize);
  auto nonce = key.iv;
  for (int i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<std::byte>(state.rec_seq >> (8 * i));
  CipherContexts contexts(1);
  CipherContexts::Claim claim;
  EVP_CIPHER_CTX* context =
      contexts.start(claim, suite, CipherContexts::Direction::kSeal, key, nonce);
  auto* const raw = reinterpret_cast<unsigned char*>(record.data());
  int size = 0;
  EXPECT_EQ(EVP_EncryptUpdate(context, nullptr, &size, raw, kRecordHeaderSize), 1);
  if (!inner.empty()) {
    EXPECT_EQ(EVP_EncryptUpdate(context, raw + 5, &size, raw + 5, static_cast<int>(inner.size())),
              1);
  }
  EXPECT_EQ(EVP_EncryptFinal_ex(context, raw, &size), 1);
  EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize,
                                record.data() + record.size() - kTagSize),
            1);
  return record;
}

constexpr RecordFailure kNone = RecordFailure::kInternal;  ///< of refusal_by_header()

class RecordProtection : public ::testing::TestWithParam<testing::Protection> {
 protected:
  RecordVersion version() const { return GetParam().version; }
  CipherSuite suite() const { return GetParam().suite; }
  std::size_t overhead() const { return record_overhead(version(), suite()); }
  DirectionState state(std::uint64_t seq = 0) const {
    return {secret_of(suite(), 3, version()), seq};
  }

  void expect_refused(Bytes record, RecordFailure failure) {
    RecordOpener opener(contexts_, suite(), state(), version());
    const auto opened = opener.open(record);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().failure, failure) << to_string(opened.error().failure);
  }

  RecordFailure refusal_by_header(ContentType type, std::uint16_t length) {
    RecordOpener opener(contexts_, suite(), state(), version());
    const auto checked = opener.check_header(RecordHeader{type, length}.serialise());
    return checked ? kNone : checked.error().failure;
  }

  CipherContexts contexts_;
};
class RecordProtectionOfTls13 : public RecordProtection {};
class RecordProtectionOfTls12 : public RecordProtection {};

TEST_P(RecordProtection, OpensWhatItSealed) {
  RecordSealer sealer(contexts_, suite(), state(), version());
  RecordOpener opener(contexts_, suite(), state(), version());
  for (const std::size_t size : {0, 1, 15, 16, 17, 1000, 4096, 4097, 16383, 16384}) {
    const Bytes content = random_bytes(size, size);
    Bytes record = seal(sealer, ContentType::kApplicationData, content);
    ASSERT_EQ(record.size(), size + overhead());
    const auto opened = opener.open(record);
    ASSERT_TRUE(opened) << size;
    EXPECT_EQ(opened->type, ContentType::kApplicationData);
    EXPECT_TRUE(std::ranges::equal(opened->content, content)) << size;
  }
  EXPECT_EQ(sealer.export_state().rec_seq, 10u);
  EXPECT_EQ(opener.export_state().rec_seq, 10u);
}

TEST_P(RecordProtection, SealsManySpansAsFullRecordsBackToBack) {
  RecordSealer sealer(contexts_, suite(), state(), version());
  RecordOpener opener(contexts_, suite(), state(), version());
  const Bytes content = random_bytes(100'000, 1);
  std::vector<iovec> spans;
  for (std::size_t at = 0, size = 0; at < content.size(); at += size) {
    size = std::min<std::size_t>(1 + at % 9001, content.size() - at);
    spans.push_back(span_of(std::span(content).subspan(at, size)));
    spans.push_back({nullptr, 0});
  }
  PlaintextCursor cursor{spans};
  Bytes out(sealed_size(content.size(), overhead()));
  const auto sealed = sealer.seal(ContentType::kApplicationData, cursor, out);
  ASSERT_TRUE(sealed);
  EXPECT_EQ(*sealed, out.size());
  EXPECT_EQ(sealer.export_state().rec_seq, 7u);

  Bytes plain;
  for (std::span<std::byte> rest = out; !rest.empty();) {
    const std::size_t size =
        kRecordHeaderSize + RecordHeader::parse(rest.first<kRecordHeaderSize>()).length;
    const auto opened = opener.open(rest.first(size));
    ASSERT_TRUE(opened);
    append(plain, opened->content);
    rest = rest.subspan(size);
  }
  EXPECT_EQ(plain, content);
}

TEST_P(RecordProtection, SealsNoMoreIntoARecordThanThePeerAskedFor) {
  constexpr std::uint16_t kLimit = 512;
  RecordSealer sealer(contexts_, suite(), state(), version(), kLimit);
  const Bytes content = random_bytes(2 * kLimit + 1, 1);
  const iovec span = span_of(content);
  PlaintextCursor cursor{std::span(&span, 1)};
  Bytes out(sealed_size(content.size(), overhead(), kLimit));
  const auto sealed = sealer.seal(ContentType::kApplicationData, cursor, out);
  ASSERT_TRUE(sealed);
  EXPECT_EQ(*sealed, out.size());
  EXPECT_EQ(sealer.next_record(), 3U);

  RecordOpener opener(contexts_, suite(), state(), version());
  const auto first = opener.open(std::span(out).first(kLimit + overhead()));
  ASSERT_TRUE(first);
  EXPECT_TRUE(std::ranges::equal(first->content, std::span(content).first(kLimit)));
}

/// The largest content whose records fit into `capacity` bytes.
std::size_t sealable_size(std::size_t capacity, std::size_t overhead) {
  const std::size_t full = kMaxPlaintextSize + overhead;
  const std::size_t rest = capacity % full;
  return capacity / full * kMaxPlaintextSize + (rest > overhead ? rest - overhead : 0);
}

TEST_P(RecordProtection, SealsWhatTheOutputHasRoomForAndGoesOn) {
  const Bytes content = random_bytes(50'000, 2);
  for (const std::size_t room : {overhead() + 1, std::size_t{1000}, 16384 + overhead(),
                                 16384 + overhead() + 1, std::size_t{20000}, std::size_t{40000}}) {
    RecordSealer sealer(contexts_, suite(), state(), version());
    RecordOpener opener(contexts_, suite(), state(), version());
    const iovec span = span_of(content);
    PlaintextCursor cursor{std::span(&span, 1)};
    Bytes out(room);
    Bytes plain;
    for (int round = 0; cursor.remaining() != 0 && round < 1000; ++round) {
      const std::size_t before = cursor.remaining();
      const auto sealed = sealer.seal(ContentType::kApplicationData, cursor, out);
      ASSERT_TRUE(sealed);
      EXPECT_EQ(before - cursor.remaining(), std::min(before, sealable_size(room, overhead())));
      for (std::span<std::byte> rest = std::span(out).first(*sealed); !rest.empty();) {
        const std::size_t size =
            kRecordHeaderSize + RecordHeader::parse(rest.first<kRecordHeaderSize>()).length;
        const auto opened = opener.open(rest.first(size));
        ASSERT_TRUE(opened);
        append(plain, opened->content);
        rest = rest.subspan(size);
      }
    }
    EXPECT_TRUE(std::ranges::equal(plain, std::span(content).first(plain.size())));
  }
}

TEST_P(RecordProtectionOfTls13, StripsPaddingOfAnyLength) {
  for (const std::size_t content_size : {0, 1, 100}) {
    for (const std::size_t padding : {1, 2, 255, 16000}) {
      Bytes inner = random_bytes(content_size, 5);
      if (!inner.empty()) inner.back() = std::byte{0};  // content may end in zeros of its own
      inner.push_back(std::byte{23});
      inner.resize(inner.size() + padding);
      Bytes record = seal_inner(suite(), state(), inner);
      RecordOpener opener(contexts_, suite(), state(), version());
      const auto opened = opener.open(record);
      ASSERT_TRUE(opened);
      EXPECT_EQ(opened->type, ContentType::kApplicationData);
      EXPECT_TRUE(std::ranges::equal(opened->content, std::span(inner).first(content_size)));
    }
  }
}

TEST_P(RecordProtectionOfTls13, RefusesRecordOfNothingButPadding) {
  expect_refused(seal_inner(suite(), state(), Bytes(1)), RecordFailure::kUnexpectedMessage);
  expect_refused(seal_inner(suite(), state(), Bytes(16385)), RecordFailure::kUnexpectedMessage);
  expect_refused(seal_inner(suite(), state(), {}), RecordFailure::kUnexpectedMessage);
}

TEST_P(RecordProtectionOfTls13, RefusesPlaintextOverTheLimitEvenIfItIsPadding) {
  Bytes inner(16384 + 1, std::byte{1});
  inner.back() = std::byte{23};
  Bytes longest = seal_inner(suite(), state(), inner);
  RecordOpener opener(contexts_, suite(), state(), version());
  EXPECT_TRUE(opener.open(longest));

  inner.push_back(std::byte{0});
  expect_refused(seal_inner(suite(), state(), inner), RecordFailure::kRecordOverflow);
}

TEST_P(RecordProtectionOfTls13, RefusesCiphertextOverTheLimitByItsHeader) {
  EXPECT_EQ(refusal_by_header(ContentType::kApplicationData, kMaxCiphertextSize + 1),
            RecordFailure::kRecordOverflow);
  EXPECT_EQ(refusal_by_header(ContentType::kApplicationData, kMaxCiphertextSize), kNone);
}

TEST_P(RecordProtectionOfTls13, RefusesOuterTypesOtherThanApplicationData) {
  for (const int type : {0, 20, 21, 22, 24, 255}) {
    EXPECT_EQ(refusal_by_header(static_cast<ContentType>(type), 100),
              RecordFailure::kUnexpectedMessage);
  }
}

TEST_P(RecordProtectionOfTls12, RefusesCiphertextThatCannotBeThatOfAFullRecordByItsHeader) {
  const auto most = static_cast<std::uint16_t>(kMaxPlaintextSize + overhead() - kRecordHeaderSize);
  EXPECT_EQ(refusal_by_header(ContentType::kApplicationData, most + 1),
            RecordFailure::kRecordOverflow);
  EXPECT_EQ(refusal_by_header(ContentType::kApplicationData, most), kNone);
}

TEST_P(RecordProtectionOfTls12, TakesTheTypesThatTls12HasAndNoOthers) {
  for (const int type : {20, 21, 22, 23}) {
    EXPECT_EQ(refusal_by_header(static_cast<ContentType>(type), 100), kNone);
  }
  for (const int type : {0, 19, 24, 255}) {
    EXPECT_EQ(refusal_by_header(static_cast<ContentType>(type), 100),
              RecordFailure::kUnexpectedMessage);
  }
}

TEST_P(RecordProtectionOfTls12, SendsTheTypeInTheOpen) {
  RecordSealer sealer(contexts_, suite(), state(), version());
  RecordOpener opener(contexts_, suite(), state(), version());
  for (const ContentType type : {ContentType::kAlert, ContentType::kHandshake,
                                 ContentType::kApplicationData, ContentType::kChangeCipherSpec}) {
    const Bytes content = random_bytes(33, 1);
    Bytes record = seal(sealer, type, content);
    EXPECT_EQ(record[0], static_cast<std::byte>(type));
    const auto opened = opener.open(record);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->type, type);
    EXPECT_TRUE(std::ranges::equal(opened->content, content));
  }
}

TEST_P(RecordProtectionOfTls12, NoticesAnotherTypeOfTheSameLength) {
  RecordSealer sealer(contexts_, suite(), state(), version());
  Bytes record = seal(sealer, ContentType::kApplicationData, random_bytes(2, 1));
  record[0] = static_cast<std::byte>(ContentType::kAlert);
  expect_refused(record, RecordFailure::kBadRecordMac);
}

TEST_P(RecordProtectionOfTls12, EndsAKeyAtTheSameLimit) {
  RecordSealer sealer(contexts_, suite(), state(record_limit(suite()) - 1), version());
  EXPECT_FALSE(sealer.key_update_due());
  seal(sealer, ContentType::kApplicationData, random_bytes(1, 1));
  EXPECT_TRUE(sealer.key_update_due());
  EXPECT_DEATH(sealer.next_generation(), "TLS 1.2 has no KeyUpdate");
}

/// A peer may number its nonces as it likes, as long as it uses none twice (RFC 5288 3).
TEST(RecordProtectionOfTls12WithGcm, TakesWhateverExplicitNonceThePeerChose) {
  constexpr auto kSuite = CipherSuite::kAes128GcmSha256;
  const TrafficSecret secret = secret_of(kSuite, 3, RecordVersion::kTls12);
  const RecordKey key = derive_key(kSuite, secret, RecordVersion::kTls12);
  const Bytes nonce = from_hex("f0 e1 d2 c3 b4 a5 96 87");
  const Bytes content = random_bytes(100, 5);

  CipherContexts contexts;
  CipherContexts::Claim claim;
  std::array<std::byte, kIvSize> whole = key.iv;
  std::ranges::copy(nonce, whole.begin() + 4);
  EVP_CIPHER_CTX* context =
      contexts.start(claim, kSuite, CipherContexts::Direction::kSeal, key, whole);
  Bytes record = from_hex("17 03 03 00 7c");
  append(record, nonce);
  append(record, content);
  record.resize(record.size() + kTagSize);
  const Bytes additional = from_hex("00 00 00 00 00 00 00 09 17 03 03 00 64");
  int size = 0;
  auto* const body = reinterpret_cast<unsigned char*>(record.data()) + 13;
  EVP_EncryptUpdate(context, nullptr, &size,
                    reinterpret_cast<const unsigned char*>(additional.data()), 13);
  EVP_EncryptUpdate(context, body, &size, body, 100);
  EVP_EncryptFinal_ex(context, body, &size);
  EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize, body + 100);

  RecordOpener opener(contexts, kSuite, {secret, 9}, RecordVersion::kTls12);
  const auto opened = opener.open(record);
  ASSERT_TRUE(opened);
  EXPECT_TRUE(std::ranges::equal(opened->content, content));
}

TEST_P(RecordProtection, RefusesRecordTooShortForATag) {
  const std::size_t least = kTagSize + explicit_nonce_size(version(), suite());
  Bytes record(kRecordHeaderSize + least - 1);
  const auto header =
      RecordHeader{ContentType::kApplicationData, static_cast<std::uint16_t>(least - 1)}
          .serialise();
  std::ranges::copy(header, record.begin());
  expect_refused(record, RecordFailure::kBadRecordMac);
}

TEST_P(RecordProtection, NoticesAFlippedBitAnywhere) {
  RecordSealer sealer(contexts_, suite(), state(), version());
  const Bytes record = seal(sealer, ContentType::kApplicationData, random_bytes(50, 6));
  for (std::size_t at = 0; at < record.size(); ++at) {
    if (at == 0 || at == 3 || at == 4) continue;  // another type or length: refused before or cut
    for (const int bit : {0, 7}) {
      Bytes tampered = record;
      tampered[at] ^= static_cast<std::byte>(1 << bit);
      SCOPED_TRACE(std::to_string(at));
      expect_refused(tampered, RecordFailure::kBadRecordMac);
    }
  }
}

TEST_P(RecordProtection, RefusesRecordReplayedReorderedOrFromTheOtherDirection) {
  RecordSealer sealer(contexts_, suite(), state(), version());
  Bytes first = seal(sealer, ContentType::kApplicationData, random_bytes(10, 7));
  const Bytes second = seal(sealer, ContentType::kApplicationData, random_bytes(10, 8));
  expect_refused(second, RecordFailure::kBadRecordMac);

  const Bytes replay = first;
  RecordOpener opener(contexts_, suite(), state(), version());
  ASSERT_TRUE(opener.open(first));
  Bytes again = replay;
  EXPECT_FALSE(opener.open(again));

  RecordOpener other(contexts_, suite(), DirectionState{secret_of(suite(), 4, version()), 0},
                     version());
  Bytes reflected = replay;
  EXPECT_FALSE(other.open(reflected));
}

TEST_P(RecordProtection, GoesOnFromAnExportedState) {
  RecordOpener opener(contexts_, suite(), state(5), version());
  Bytes first, second;
  {
    RecordSealer sealer(contexts_, suite(), state(5), version());
    first = seal(sealer, ContentType::kApplicationData, random_bytes(10, 1));
    RecordSealer successor(contexts_, suite(), sealer.export_state(), version());
    second = seal(successor, ContentType::kApplicationData, random_bytes(10, 2));
  }
  EXPECT_TRUE(opener.open(first));
  RecordOpener successor(contexts_, suite(), opener.export_state(), version());
  EXPECT_TRUE(successor.open(second));
}

TEST_P(RecordProtection, ExportsTheKeyOfTheSecretThatItExports) {
  RecordSealer sealer(contexts_, suite(), state(5), version());
  const auto expect_own_key = [&] {
    const DirectionState exported = sealer.export_state();
    const RecordKey expected = derive_key(suite(), exported.secret(), version());
    ASSERT_TRUE(exported.has_key());
    EXPECT_EQ(exported.key(suite(), version()).key, expected.key);
    EXPECT_EQ(exported.key(suite(), version()).iv, expected.iv);
  };
  expect_own_key();
  if (version() == RecordVersion::kTls12) return;
  sealer.next_generation();
  expect_own_key();
}

TEST_P(RecordProtectionOfTls13, ReplacesKeysOnBothSides) {
  RecordSealer sealer(contexts_, suite(), state(), version());
  RecordOpener opener(contexts_, suite(), state(), version());
  for (int generation = 0; generation < 5; ++generation) {
    for (int i = 0; i < 3; ++i) {
      const Bytes content = random_bytes(33, static_cast<std::uint64_t>(i));
      Bytes record = seal(sealer, ContentType::kApplicationData, content);
      const auto opened = opener.open(record);
      ASSERT_TRUE(opened);
      EXPECT_TRUE(std::ranges::equal(opened->content, content));
    }
    sealer.next_generation();
    opener.next_generation();
    EXPECT_EQ(sealer.export_state().rec_seq, 0u);
  }
  sealer.next_generation();
  Bytes record = seal(sealer, ContentType::kApplicationData, random_bytes(1, 1));
  EXPECT_FALSE(opener.open(record)) << "opened a record of a later generation";
}

TEST_P(RecordProtectionOfTls13, TellsWhenAKeyUpdateIsDue) {
  RecordSealer sealer(contexts_, suite(), state(record_limit(suite()) - 1), version());
  EXPECT_FALSE(sealer.key_update_due());
  seal(sealer, ContentType::kApplicationData, random_bytes(1, 1));
  EXPECT_TRUE(sealer.key_update_due());
  sealer.next_generation();
  EXPECT_FALSE(sealer.key_update_due());
}

TEST_P(RecordProtection, NeverWrapsTheSequenceNumber) {
  RecordSealer sealer(contexts_, suite(), state(UINT64_MAX), version());
  const Bytes content = random_bytes(1, 1);
  const iovec span = span_of(content);
  PlaintextCursor cursor{std::span(&span, 1)};
  Bytes out(100);
  const auto sealed = sealer.seal(ContentType::kApplicationData, cursor, out);
  ASSERT_FALSE(sealed);
  EXPECT_EQ(sealed.error().failure, RecordFailure::kSequenceExhausted);
}

const auto kName = [](const auto& info) { return testing::to_string(info.param); };
INSTANTIATE_TEST_SUITE_P(Each, RecordProtection, ::testing::ValuesIn(testing::kProtections), kName);
INSTANTIATE_TEST_SUITE_P(Each, RecordProtectionOfTls13,
                         ::testing::ValuesIn(std::span(testing::kProtections).first(3)), kName);
INSTANTIATE_TEST_SUITE_P(Each, RecordProtectionOfTls12,
                         ::testing::ValuesIn(std::span(testing::kProtections).last(3)), kName);

// RFC 8448 section 3: application data of 50 bytes counting up, then close_notify, both ways. The
// server's ticket has taken its sequence number 0.
struct Direction8448 {
  const char* secret;
  std::uint64_t sequence;
  const char* data_record;
  const char* alert_record;
};

void expect_sealed_and_opened(const Direction8448& direction) {
  const DirectionState state{TrafficSecret(from_hex(direction.secret)), direction.sequence};
  const Bytes data_record = from_hex(direction.data_record);
  const Bytes alert_record = from_hex(direction.alert_record);
  Bytes counting(50);
  for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::byte>(i);

  CipherContexts contexts;
  RecordSealer sealer(contexts, CipherSuite::kAes128GcmSha256, state);
  EXPECT_EQ(seal(sealer, ContentType::kApplicationData, counting), data_record);
  EXPECT_EQ(seal(sealer, ContentType::kAlert, from_hex("01 00")), alert_record);

  RecordOpener opener(contexts, CipherSuite::kAes128GcmSha256, state);
  Bytes bytes = data_record;
  const auto data = opener.open(bytes);
  ASSERT_TRUE(data);
  EXPECT_TRUE(std::ranges::equal(data->content, counting));
  bytes = alert_record;
  const auto alert = opener.open(bytes);
  ASSERT_TRUE(alert);
  EXPECT_EQ(alert->type, ContentType::kAlert);
}

TEST(Rfc8448, SealsAndOpensTheClientsRecords) {
  expect_sealed_and_opened(
      {.secret = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
       .sequence = 0,
       .data_record =
           "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 "
           "bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 "
           "14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4",
       .alert_record = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3"});
}

TEST(Rfc8448, SealsAndOpensTheServersRecords) {
  expect_sealed_and_opened(
      {.secret = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
       .sequence = 1,
       .data_record =
           "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 "
           "aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 "
           "47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d",
       .alert_record = "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9"});
}

}  // namespace
}  // namespace sallyport::ktls
