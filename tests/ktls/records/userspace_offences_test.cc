// Offences of the peer: what came before is delivered, then the alert is on the wire.
#include <gtest/gtest.h>

#include "ktls/records/post_handshake.h"
#include "tests/ktls/records/userspace_fixture.h"

namespace sallyport::ktls {
namespace {

using testing::append;
using testing::Bytes;
using testing::from_hex;
using testing::Kind;
using testing::random_bytes;
using testing::ScriptedPeer;
using testing::send_and_expect;
using testing::Story;
using testing::UserspaceRecords;
using testing::Words;

TEST_F(UserspaceRecords, AnswersEachOffenceWithItsAlert) {
  struct Offence {
    const char* what;
    Bytes (*record)(ScriptedPeer&);
    RecordFailure failure;
    AlertDescription alert;
  };
  using P = ScriptedPeer&;
  const Offence offences[] = {
      {"flipped tag",
       [](P peer) {
         Bytes record = peer.data(Bytes(10));
         record.back() ^= std::byte{1};
         return record;
       },
       RecordFailure::kBadRecordMac, AlertDescription::kBadRecordMac},
      {"flipped ciphertext",
       [](P peer) {
         Bytes record = peer.data(Bytes(10));
         record[7] ^= std::byte{0x80};
         return record;
       },
       RecordFailure::kBadRecordMac, AlertDescription::kBadRecordMac},
      {"flipped version",
       [](P peer) {
         Bytes record = peer.data(Bytes(10));
         record[2] = std::byte{1};
         return record;
       },
       RecordFailure::kBadRecordMac, AlertDescription::kBadRecordMac},
      {"no room for a tag",
       [](P) { return from_hex("17 0303 000f 000102030405060708090a0b0c0d0e"); },
       RecordFailure::kBadRecordMac, AlertDescription::kBadRecordMac},
      {"ciphertext too long", [](P) { return from_hex("17 0303 4101"); },
       RecordFailure::kRecordOverflow, AlertDescription::kRecordOverflow},
      {"plaintext ChangeCipherSpec", [](P) { return from_hex("14 0303 0001 01"); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"plaintext alert", [](P) { return from_hex("15 0303 0002 0100"); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"plaintext HTTP",
       [](P) {
         return testing::Bytes{std::byte{'G'}, std::byte{'E'}, std::byte{'T'}, std::byte{' '},
                               std::byte{'/'}};
       },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"nothing but padding", [](P peer) { return peer.inner({}, 0, 100); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"inner ChangeCipherSpec", [](P peer) { return peer.inner(Bytes(1), 20, 1); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"inner type of no protocol", [](P peer) { return peer.inner(Bytes(1), 99, 1); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"empty alert", [](P peer) { return peer.seal(ContentType::kAlert, {}); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"alert of three bytes", [](P peer) { return peer.seal(ContentType::kAlert, Bytes(3)); },
       RecordFailure::kDecodeError, AlertDescription::kDecodeError},
      {"empty handshake record", [](P peer) { return peer.seal(ContentType::kHandshake, {}); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"ticket from a client",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("04 000001 00")); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"KeyUpdate with something behind it",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("18 000001 00 18")); },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
      {"KeyUpdate with an unknown request",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("18 000001 02")); },
       RecordFailure::kIllegalParameter, AlertDescription::kIllegalParameter},
      {"KeyUpdate of the wrong length",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("18 000002 0000")); },
       RecordFailure::kDecodeError, AlertDescription::kDecodeError},
      {"data inside a handshake message",
       [](P peer) {
         Bytes records = peer.seal(ContentType::kHandshake, from_hex("18 0000"));
         append(records, peer.data(Bytes(1)));
         return records;
       },
       RecordFailure::kUnexpectedMessage, AlertDescription::kUnexpectedMessage},
  };
  for (const Offence& offence : offences) {
    SCOPED_TRACE(offence.what);
    connect();
    const Bytes content = random_bytes(100, 10);
    const Bytes before = peer_->data(content);
    const Story story = hear({before, offence.record(*peer_), Bytes(100)});
    EXPECT_EQ(story.data, content);
    expect_failure(story, offence.failure);
    EXPECT_EQ(answers(), Words{"alert:" + std::to_string(static_cast<int>(offence.alert))});
    shard_.ring->run(send_and_expect(*layer_, RecordFailure::kPipe));
  }
  shard_.expect_idle();
}

TEST_F(UserspaceRecords, NoticesEveryFlippedByteOfARecord) {
  connect();
  const std::size_t size = peer_->data(Bytes(20)).size();
  for (std::size_t at = 0; at < size; ++at) {
    connect();
    Bytes record = peer_->data(Bytes(20));
    record[at] ^= std::byte{0x10};
    Bytes more = peer_->data(Bytes(20'000));  // a longer length finds enough behind it
    const Story story = hear({record, more});
    EXPECT_TRUE(story.data.empty()) << at;
    EXPECT_EQ(story.end, Kind::kFailed) << at;
  }
}

TEST_F(UserspaceRecords, PassesEmptyAndPaddedRecordsOver) {
  connect();
  const Bytes content = random_bytes(500, 11);
  for (int i = 0; i < 32; ++i) put(peer_->data({}));
  put(peer_->inner(content, 23, 5000));
  for (int i = 0; i < 10; ++i) put(peer_->inner({}, 23, 1000));
  const Story story = hear({peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

TEST_F(UserspaceRecords, EndsAFloodOfEmptyRecordsHoweverTheyArePadded) {
  for (const std::size_t padding : {1U, 1000U}) {
    connect();
    const Bytes content = random_bytes(500, 12);
    put(peer_->data(content));
    for (int i = 0; i < 40; ++i) put(peer_->inner({}, 23, padding));
    const Story story = hear();
    EXPECT_EQ(story.data, content);
    expect_failure(story, RecordFailure::kUnexpectedMessage);
    EXPECT_EQ(answers(), Words{"alert:10"});
  }
}

TEST_F(UserspaceRecords, DropsTicketsWhenItIsTheClient) {
  connect({}, Role::kClient);
  const Bytes content = random_bytes(500, 12);
  Bytes ticket = from_hex("04 0000c8");
  append(ticket, random_bytes(200, 1));
  Bytes two = ticket;
  append(two, ticket);
  put(peer_->seal(ContentType::kHandshake, two));
  put(peer_->data(content));
  put(peer_->seal(ContentType::kHandshake, std::span(ticket).first(100)));
  put(peer_->seal(ContentType::kHandshake, std::span(ticket).subspan(100)));
  const Story story = hear({peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

}  // namespace
}  // namespace sallyport::ktls
