// How the peer ends a connection whose records the kernel opens, well or badly (RFC 8446 5, 6).
#include "ktls/records/kernel_hand_off.h"
#include "tests/ktls/records/kernel_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::close_it;
using testing::from_hex;
using testing::hear_pieces;
using testing::KernelFixture;
using testing::Kind;
using testing::random_bytes;
using testing::read_all;
using testing::ScriptedPeer;
using testing::send_and_expect;
using testing::send_one;
using testing::Shard;
using testing::Story;
using testing::Words;

class KernelOffences : public KernelFixture {};

// RFC 8446 6.1: what follows a closure alert is ignored; the other direction stays open.
TEST_F(KernelOffences, DeliversDataGluedToCloseNotifyAndIgnoresWhatFollows) {
  connect();
  const Bytes content = random_bytes(100, 6);
  const Story story = hear({peer_->data(content), peer_->close_notify(), peer_->data(content),
                            from_hex("deadbeefdeadbeef")});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
  shard_.ring->run(send_one(*layer_, 5));
  shard_.ring->run(close_it(*layer_));
  EXPECT_EQ(last_words(), (Words{"data:5", "alert:0"}));
}

// RFC 8446 6.1: without close_notify the end may be an attacker's.
TEST_F(KernelOffences, TellsATruncationFromACleanEnd) {
  const Bytes content = random_bytes(100, 7);
  for (const std::size_t missing : {0, 1, 50, 116, 117, 121}) {
    connect();
    const Bytes whole = peer_->data(content);
    Bytes cut = peer_->data(content);
    cut.resize(missing == 0 ? 0 : cut.size() - missing);
    const Story story = hear({whole, cut});
    EXPECT_EQ(story.data, content);
    EXPECT_EQ(story.end, Kind::kTruncated) << missing << testing::to_string(story.end);
  }
  shard_.expect_idle();
}

// RFC 8446 6.2: both sides stop at once, whatever the level field says; unknown ones are fatal.
TEST_F(KernelOffences, ReportsEachFatalAlertAndSendsNothingAfterIt) {
  for (const int description :
       {10, 20, 22, 40, 42, 47, 49, 50, 51, 70, 80, 86, 109, 112, 120, 200}) {
    connect();
    const Bytes content = random_bytes(10, 9);
    const Story story =
        hear({peer_->data(content), peer_->alert(static_cast<AlertDescription>(description))});
    EXPECT_EQ(story.data, content);
    expect_failure(story, RecordFailure::kAlertReceived);
    EXPECT_EQ(static_cast<int>(story.error.alert), description);
    shard_.ring->run(send_and_expect(*layer_, RecordFailure::kPipe));
    EXPECT_EQ(last_words(), Words{}) << "an alert must not be answered by an alert";
  }
}

// RFC 8446 6.1.
TEST_F(KernelOffences, TakesUserCanceledAsAPreludeToCloseNotifyButNoFloodOfIt) {
  connect();
  const Bytes content = random_bytes(10, 8);
  const Story story = hear(
      {peer_->alert(AlertDescription::kUserCanceled), peer_->data(content), peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
  connect();
  for (int i = 0; i < 10; ++i) put(peer_->alert(AlertDescription::kUserCanceled));
  expect_failure(hear(), RecordFailure::kUnexpectedMessage);
  EXPECT_EQ(last_words(), Words{"alert:10"});
}

// RFC 8446 4.6, 5.1, 5.2, 5.4, 6.
TEST_F(KernelOffences, AnswersEachOffenceWithItsAlert) {
  struct Offence {
    const char* what;
    Bytes (*record)(ScriptedPeer&);
    RecordFailure failure;
  };
  using P = ScriptedPeer&;
  constexpr auto kBadMac = RecordFailure::kBadRecordMac;
  constexpr auto kUnexpected = RecordFailure::kUnexpectedMessage;
  const Offence offences[] = {
      {"flipped tag",
       [](P peer) {
         Bytes record = peer.data(Bytes(10));
         record.back() ^= std::byte{1};
         return record;
       },
       kBadMac},
      {"flipped ciphertext",
       [](P peer) {
         Bytes record = peer.data(Bytes(10));
         record[7] ^= std::byte{0x80};
         return record;
       },
       kBadMac},
      {"flipped version",
       [](P peer) {
         Bytes record = peer.data(Bytes(10));
         record[2] = std::byte{1};
         return record;
       },
       kBadMac},
      {"no room for a tag",
       [](P) { return from_hex("17 0303 000f 000102030405060708090a0b0c0d0e"); }, kBadMac},
      {"ciphertext too long", [](P) { return from_hex("17 0303 4112"); },
       RecordFailure::kRecordOverflow},
      {"plaintext alert", [](P) { return from_hex("15 0303 0002 0100"); }, kBadMac},
      {"nothing but padding", [](P peer) { return peer.inner({}, 0, 100); }, kBadMac},
      {"inner ChangeCipherSpec", [](P peer) { return peer.inner(Bytes(1), 20, 1); }, kUnexpected},
      {"inner type of no protocol", [](P peer) { return peer.inner(Bytes(1), 99, 1); },
       kUnexpected},
      {"empty alert", [](P peer) { return peer.seal(ContentType::kAlert, {}); }, kUnexpected},
      {"alert of three bytes", [](P peer) { return peer.seal(ContentType::kAlert, Bytes(3)); },
       RecordFailure::kDecodeError},
      {"empty handshake record", [](P peer) { return peer.seal(ContentType::kHandshake, {}); },
       kUnexpected},
      {"ticket from a client",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("04 000001 00")); },
       kUnexpected},
      {"KeyUpdate with something behind it",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("18 000001 00 18")); },
       kUnexpected},
      {"KeyUpdate with an unknown request",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("18 000001 02")); },
       RecordFailure::kIllegalParameter},
      {"KeyUpdate of the wrong length",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("18 000002 0000")); },
       RecordFailure::kDecodeError},
  };
  tampered_ = true;
  for (const bool waiting : {false, true}) {
    for (const Offence& offence : offences) {
      SCOPED_TRACE(std::string(offence.what) + (waiting ? ", met while waiting" : ""));
      connect();
      const Bytes content = random_bytes(100, 10);
      put(peer_->data(content));
      Story story;
      if (waiting) {
        Bytes rest = offence.record(*peer_);
        append(rest, Bytes(100));
        shard_.ring->run(hear_pieces(shard_, wire_, *layer_, rest, {}, story));
      } else {
        put(offence.record(*peer_));
        put(Bytes(100));
        story = hear();
      }
      EXPECT_EQ(story.data, content);
      expect_answered(story, offence.failure);
    }
  }
  shard_.expect_idle();
}

/// RFC 8446 5.2 has the type of the header authenticated; the kernel authenticates 23 whatever it
/// says (6.1, 6.12, 7.x), and goes by the inner type. What an attacker can flip there is thus
/// ignored, and changes nothing.
TEST_F(KernelOffences, GoesByTheInnerTypeWhateverTheHeaderSays) {
  connect();
  const Bytes content = random_bytes(100, 15);
  Bytes record = peer_->data(content);
  record[0] = std::byte{22};
  const Story story = hear({record, peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

/// RFC 8446 6.1: what comes after close_notify is ignored. The kernel looks at the next header
/// unasked, and an error of its must not end our direction.
TEST_F(KernelOffences, StillSendsWhenRubbishFollowedTheCloseNotify) {
  for (const char* rubbish :
       {"17 0301 0010 00", "17 0303 ffff 00", "deadbeefdeadbeef", "15 0303 0002 0100"}) {
    SCOPED_TRACE(rubbish);
    connect();
    put(peer_->data(Bytes(10)));
    put(peer_->close_notify());
    put(from_hex(rubbish));
    EXPECT_EQ(hear().end, Kind::kCloseNotify);
    shard_.ring->run(send_one(*layer_, 50'000));
    shard_.ring->run(close_it(*layer_));
    EXPECT_EQ(last_words(),
              (Words{"data:16384", "data:16384", "data:16384", "data:848", "alert:0"}));
  }
}

// RFC 8446 5.4. With TLS_RX_EXPECT_NO_PAD 6.1 and 6.12 hand out padding in the place of what lies
// behind the first padded record of a read, so they are not given it.
TEST_F(KernelOffences, DeliversWhatLiesBehindPaddedRecords) {
  connect();
  const Bytes content = random_bytes(40'000, 16);
  Bytes bytes;
  for (std::size_t at = 0; at < content.size(); at += 1000) {
    const auto piece = std::span(content).subspan(at, 1000);
    append(bytes, at % 3000 == 0 ? peer_->inner(piece, 23, 500) : peer_->data(piece));
  }
  const Story story = hear({bytes, peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

// RFC 8446 5.1, 5.4.
TEST_F(KernelOffences, PassesEmptyAndPaddedRecordsOver) {
  connect();
  const Bytes content = random_bytes(500, 11);
  for (int i = 0; i < 100; ++i) put(peer_->data({}));
  put(peer_->inner(content, 23, 5000));
  for (int i = 0; i < 10; ++i) put(peer_->inner({}, 23, 1000));
  const Story story = hear({peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

Task<void> end_a_stuck_sender(Shard& shard, Socket& wire, RecordLayer& layer, Bytes tampered) {
  const Bytes data(20'000'000);
  co_await both(
      [](RecordLayer& l, const Bytes& d) -> Task<void> {
        const auto sent = co_await l.send(Chunk::borrowed(d));
        EXPECT_FALSE(sent);
        if (sent) co_return;
        const auto failure = sent.error().failure;
        EXPECT_TRUE(failure == RecordFailure::kBadRecordMac || failure == RecordFailure::kPipe)
            << to_string(failure);
      }(layer, data),
      [](Shard& s, Socket& w, RecordLayer& l, Bytes bad) -> Task<void> {
        co_await testing::iterate(*s.ring, 10);
        const auto put = co_await w.send_all(bad);
        EXPECT_TRUE(put);
        const Story story = co_await read_all(l);
        EXPECT_EQ(story.end, Kind::kFailed);
        EXPECT_EQ(story.error.failure, RecordFailure::kBadRecordMac);
      }(shard, wire, layer, std::move(tampered)));
}

TEST_F(KernelOffences, EndsABlockedSenderAtATamperedRecord) {
  tampered_ = true;
  connect();
  Bytes tampered = peer_->data(Bytes(10));
  tampered.back() ^= std::byte{1};
  shard_.ring->run(end_a_stuck_sender(shard_, wire_, *layer_, tampered));
  shard_.expect_idle();
}

}  // namespace
}  // namespace sallyport::ktls
