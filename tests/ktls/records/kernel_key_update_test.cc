// KeyUpdate (RFC 8446 4.6.3) where the kernel makes the records.
#include "ktls/records/kernel_hand_off.h"
#include "tests/ktls/records/bulk_key_updates.h"
#include "tests/ktls/records/kernel_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;
using testing::answers_amid_bulk;
using testing::append;
using testing::Bytes;
using testing::can_rekey;
using testing::close_it;
using testing::from_hex;
using testing::KernelFixture;
using testing::Kind;
using testing::kSuite;
using testing::random_bytes;
using testing::send_and_expect;
using testing::send_one;
using testing::Story;
using testing::tls_stat;
using testing::Words;

class KernelKeyUpdate : public KernelFixture {};

TEST_F(KernelKeyUpdate, EndsCleanlyAtAKeyUpdateWhereTheKernelCannotReKey) {
  if (can_rekey()) GTEST_SKIP() << "this kernel can re-key";
  for (const auto request :
       {KeyUpdateRequest::kUpdateNotRequested, KeyUpdateRequest::kUpdateRequested}) {
    connect();
    const Bytes content = random_bytes(100, 12);
    const Story story = hear({peer_->data(content), peer_->key_update(request),
                              peer_->data(content), peer_->close_notify()});
    EXPECT_EQ(story.data, content);
    expect_failure(story, RecordFailure::kKeyUpdateUnsupported);
    EXPECT_EQ(layer_->counters().key_updates_received, 1u);
    EXPECT_EQ(last_words(), Words{"alert:80"});
  }
}

TEST_F(KernelKeyUpdate, FollowsKeyUpdatesAndAnswersThoseThatAsk) {
  SALLYPORT_NEEDS_REKEY();
  for (const CipherSuite suite : testing::kSuites) {
    auto before = tls_stat();
    connect({.state = testing::session_of(suite)});
    Bytes expected;
    Bytes bytes;
    for (std::uint64_t i = 0; i < 10; ++i) {
      const Bytes content = random_bytes(100, i);
      append(expected, content);
      append(bytes, peer_->key_update(i % 2 == 0 ? KeyUpdateRequest::kUpdateRequested
                                                 : KeyUpdateRequest::kUpdateNotRequested));
      append(bytes, peer_->data(content));
    }
    append(bytes, peer_->close_notify());
    const Story story = hear({bytes});
    EXPECT_EQ(story.data, expected);
    EXPECT_EQ(story.end, Kind::kCloseNotify);
    EXPECT_EQ(layer_->counters().key_updates_received, 10u);
    EXPECT_EQ(layer_->counters().key_updates_sent, 5u);
    auto after = tls_stat();
    EXPECT_EQ(after["TlsRxRekeyOk"], before["TlsRxRekeyOk"] + 10);
    EXPECT_EQ(after["TlsTxRekeyOk"], before["TlsTxRekeyOk"] + 5);
    EXPECT_EQ(after["TlsDecryptError"], before["TlsDecryptError"]);
    shard_.ring->run(send_one(*layer_, 30));
    EXPECT_EQ(last_words(),
              (Words{"update:0", "update:0", "update:0", "update:0", "update:0", "data:30"}));
  }
}

TEST_F(KernelKeyUpdate, AnswersARequestedKeyUpdateThoughNoDataFlows) {
  SALLYPORT_NEEDS_REKEY();
  connect();
  for (int i = 0; i < 3; ++i) {
    put(peer_->key_update(KeyUpdateRequest::kUpdateRequested));
    EXPECT_EQ(word_while_listening(), "update:0");
  }
  shard_.expect_idle();
}

Task<void> hear_bytes(RecordLayer& layer, std::size_t wanted) {
  for (std::size_t heard = 0; heard < wanted;) {
    Received received = co_await layer.receive();
    EXPECT_EQ(received.kind, Kind::kData);
    if (received.size() == 0) co_return;
    heard += received.size();
  }
}
Task<void> put_and_hear(iouring::Ring& ring, Socket& wire, RecordLayer& layer, const Bytes& bytes,
                        std::size_t wanted) {
  co_await both(hear_bytes(layer, wanted), testing::put_pieces(ring, wire, bytes, {}));
}

/// Such kernels call a socket unreadable while a KeyUpdate is next, and decrypt ahead.
TEST_F(KernelKeyUpdate, FindsAKeyUpdateBehindDataThoughNothingFollows) {
  SALLYPORT_NEEDS_REKEY();
  for (const std::size_t size : {10, 30'000}) {
    connect();
    Bytes bytes = peer_->data(Bytes(size / 2));
    append(bytes, peer_->data(Bytes(size / 2)));
    append(bytes, peer_->key_update(KeyUpdateRequest::kUpdateRequested));
    shard_.ring->run(put_and_hear(*shard_.ring, wire_, *layer_, bytes, size));
    EXPECT_EQ(word_while_listening(), "update:0");
  }
}

// RFC 8446 5.1 lets messages share a record, as long as the KeyUpdate is the last.
TEST_F(KernelKeyUpdate, TakesATicketAndAKeyUpdateInOneRecord) {
  SALLYPORT_NEEDS_REKEY();
  connect({.role = Role::kClient});
  put(peer_->seal(ContentType::kHandshake, from_hex("04 000002 0102 18 000001 01")));
  peer_->rekey();
  const Bytes content = random_bytes(100, 13);
  put(peer_->data(content));
  put(peer_->close_notify());
  const Story story = hear();
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
  EXPECT_EQ(last_words(), Words{"update:0"});
}

TEST_F(KernelKeyUpdate, EndsAtAKeyUpdateThatIsCutOverRecords) {
  SALLYPORT_NEEDS_REKEY();
  connect();
  const Story story = hear({peer_->seal(ContentType::kHandshake, from_hex("18 0000")),
                            peer_->seal(ContentType::kHandshake, from_hex("01 00"))});
  expect_failure(story, RecordFailure::kKeyUpdateUnsupported);
  EXPECT_EQ(last_words(), Words{"alert:80"});
}

TEST_F(KernelKeyUpdate, EndsAFloodOfKeyUpdates) {
  SALLYPORT_NEEDS_REKEY();
  connect();
  const Bytes content = random_bytes(10, 14);
  Bytes bytes = peer_->data(content);
  for (int i = 0; i < 40; ++i) {
    append(bytes, peer_->key_update(KeyUpdateRequest::kUpdateNotRequested));
  }
  const Story story = hear({bytes});
  EXPECT_EQ(story.data, content);
  expect_failure(story, RecordFailure::kKeyUpdateFlood);
  EXPECT_EQ(layer_->counters().key_updates_received, KeyUpdateBudget::kMax);
  EXPECT_EQ(last_words(), Words{"alert:10"});
}

// RFC 8446 6.1: nothing is sent after it.
TEST_F(KernelKeyUpdate, DoesNotAnswerAfterItsCloseNotify) {
  SALLYPORT_NEEDS_REKEY();
  connect();
  shard_.ring->run(close_it(*layer_));
  put(peer_->key_update(KeyUpdateRequest::kUpdateRequested));
  put(peer_->data(Bytes(10)));
  put(peer_->close_notify());
  EXPECT_EQ(hear().data.size(), 10u);
  EXPECT_EQ(last_words(), Words{"alert:0"});
}

TEST_F(KernelKeyUpdate, AnswersKeyUpdatesInTheMidstOfABulkTransfer) {
  SALLYPORT_NEEDS_REKEY();
  for (const int send_buffer : {0, 30'000}) {
    connect({.send_buffer = send_buffer});
    const Bytes data = random_bytes(testing::bulk(16'000'000), 13);
    EXPECT_GT(answers_amid_bulk(shard_, wire_, *layer_, *peer_, data, 20'000, 10), 0u);
  }
}

// RFC 8446 5.5.
TEST_F(KernelKeyUpdate, ReplacesItsOwnKeyAtTheLimitOfRecordsOrEndsBeforeIt) {
  SessionState state = testing::session_of(kSuite);
  state.tx.rec_seq = record_limit(kSuite) - 3;
  connect({.state = state});
  shard_.ring->run(send_one(*layer_, 1));
  shard_.ring->run(send_one(*layer_, 16'385));
  if (can_rekey()) {
    shard_.ring->run(send_one(*layer_, 3));
    shard_.ring->run(close_it(*layer_));
    EXPECT_EQ(last_words(),
              (Words{"data:1", "data:16384", "data:1", "update:0", "data:3", "alert:0"}));
  } else {
    shard_.ring->run(send_and_expect(*layer_, RecordFailure::kSequenceExhausted));
    EXPECT_EQ(last_words(), (Words{"data:1", "data:16384", "data:1", "alert:80"}));
  }
}

}  // namespace
}  // namespace sallyport::ktls
