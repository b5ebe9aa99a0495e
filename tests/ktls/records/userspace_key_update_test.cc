// KeyUpdates of the peer and the answers, and the own key at its limit.
#include <gtest/gtest.h>

#include <algorithm>

#include "iouring/both.h"
#include "iouring/faults.h"
#include "ktls/records/post_handshake.h"
#include "tests/ktls/records/bulk_key_updates.h"
#include "tests/ktls/records/userspace_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;
using testing::answers_amid_bulk;
using testing::append;
using testing::Bytes;
using testing::close_it;
using testing::Kind;
using testing::kSuite;
using testing::random_bytes;
using testing::read_all;
using testing::send_one;
using testing::Shard;
using testing::Story;
using testing::UserspaceRecords;
using testing::Words;

TEST_F(UserspaceRecords, FollowsKeyUpdatesAndAnswersThoseThatAsk) {
  connect();
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
  EXPECT_EQ(layer_->counters().key_updates_received, 10u);
  // All five requests came in one read, before the answer could be sent: one answers them.
  EXPECT_EQ(answers(), Words{"update:0"});
  EXPECT_EQ(layer_->counters().key_updates_sent, 1u);
}

Task<void> put_and_wait(Shard& shard, Socket& wire, RecordLayer& layer, Bytes bytes) {
  iouring::CancelScope scope(co_await iouring::current_scope());
  co_await both(
      [](iouring::CancelScope& s, RecordLayer& l) -> Task<void> {
        Received received = co_await iouring::in_scope(s, l.receive());
        EXPECT_EQ(received.kind, Kind::kFailed);
        EXPECT_EQ(received.error.failure, RecordFailure::kCancelled);
      }(scope, layer),
      [](Shard& sh, Socket& w, iouring::CancelScope& s, Bytes b) -> Task<void> {
        const auto sent = co_await w.send_all(b);
        EXPECT_TRUE(sent);
        co_await testing::iterate(*sh.ring, 10);
        s.cancel();
      }(shard, wire, scope, std::move(bytes)));
}

TEST_F(UserspaceRecords, AnswersARequestedKeyUpdateThoughNoDataFlows) {
  connect();
  for (int i = 0; i < 3; ++i) {
    shard_.ring->run(put_and_wait(shard_, wire_, *layer_,
                                  peer_->key_update(KeyUpdateRequest::kUpdateRequested)));
    EXPECT_EQ(answers(), Words{"update:0"});
  }
  shard_.expect_idle();
}

TEST_F(UserspaceRecords, SealsTheAnswerUnderTheOldKeyAndDataUnderTheNew) {
  connect();
  shard_.ring->run(send_one(*layer_, 10));
  shard_.ring->run(
      put_and_wait(shard_, wire_, *layer_, peer_->key_update(KeyUpdateRequest::kUpdateRequested)));
  shard_.ring->run(send_one(*layer_, 20));
  EXPECT_EQ(answers(), (Words{"data:10", "update:0", "data:20"}));
}

TEST_F(UserspaceRecords, DoesNotAnswerAfterItsCloseNotify) {
  connect();
  shard_.ring->run(close_it(*layer_));
  shard_.ring->run(
      put_and_wait(shard_, wire_, *layer_, peer_->key_update(KeyUpdateRequest::kUpdateRequested)));
  EXPECT_EQ(answers(), Words{"alert:0"});
}

TEST_F(UserspaceRecords, AnswersKeyUpdatesInTheMidstOfABulkTransfer) {
  connect();
  const Bytes data = random_bytes(8'000'000, 13);
  EXPECT_GT(answers_amid_bulk(shard_, wire_, *layer_, *peer_, data, 50'000, 20), 2u);
}

TEST_F(UserspaceRecords, EndsAFloodOfKeyUpdates) {
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
  EXPECT_EQ(answers(), Words{"alert:10"});
}

/// Java past jdk.tls.keyLimits asks again with each record that it reads, until the answer comes
/// behind all that was under way.
TEST_F(UserspaceRecords, FollowsAKeyUpdateForEachRecordThatThePeerReads) {
  connect();
  Bytes sent;
  for (int i = 0; i < 200; ++i) {
    shard_.ring->run(send_one(*layer_, 100));
    append(sent, wire_bytes());
  }
  EXPECT_EQ(peer_->read(sent).size(), 200U);
  Bytes bytes;
  for (int i = 0; i < 200; ++i) {
    append(bytes, peer_->key_update(KeyUpdateRequest::kUpdateRequested));
  }
  append(bytes, peer_->close_notify());
  const Story story = hear({bytes});
  EXPECT_EQ(story.end, Kind::kCloseNotify) << to_string(story.error.failure);
  EXPECT_EQ(layer_->counters().key_updates_received, 200U);
}

TEST_F(UserspaceRecords, ReplacesItsOwnKeyAtTheLimitOfRecords) {
  SessionState state = testing::session_of(kSuite);
  state.tx.rec_seq = record_limit(kSuite) - 2;
  connect({}, Role::kServer, state);
  shard_.ring->run(send_one(*layer_, 1));
  shard_.ring->run(send_one(*layer_, 2));
  shard_.ring->run(send_one(*layer_, 3));
  shard_.ring->run(close_it(*layer_));
  EXPECT_EQ(answers(), (Words{"data:1", "data:2", "update:0", "data:3", "alert:0"}));
  EXPECT_EQ(layer_->counters().key_updates_sent, 1u);
}

#ifdef SALLYPORT_FAULTS
TEST_F(UserspaceRecords, KeepsAnAnswerThatTheSocketHadNoRoomFor) {
  connect();
  iouring::FaultPlan plan;
  plan.nth(iouring::Opcode::kSend, 2, iouring::Fault::error(EAGAIN));  // the first is the peer's
  shard_.ring->set_faults(&plan);
  put(peer_->key_update(KeyUpdateRequest::kUpdateRequested));
  shard_.ring->run(put_and_wait(shard_, wire_, *layer_, peer_->data({})));
  shard_.ring->run(send_one(*layer_, 7));
  shard_.ring->set_faults(nullptr);
  EXPECT_EQ(answers(), (Words{"update:0", "data:7"}));
}

TEST_F(UserspaceRecords, FinishesAnAnswerThatWentOutInPart) {
  connect();
  iouring::FaultPlan plan;
  plan.nth(iouring::Opcode::kSend, 1, iouring::Fault::short_count(3));
  plan.nth(iouring::Opcode::kSend, 2, iouring::Fault::delay(5));
  shard_.ring->set_faults(&plan);
  put(peer_->key_update(KeyUpdateRequest::kUpdateRequested));
  put(peer_->close_notify());
  const auto heard_and_sent = [](RecordLayer& layer) -> Task<void> {
    co_await both(
        [](RecordLayer& l) -> Task<void> {
          const Story story = co_await read_all(l);
          EXPECT_EQ(story.end, Kind::kCloseNotify);
        }(layer),
        [](RecordLayer& l) -> Task<void> {
          for (int i = 0; i < 5; ++i) co_await send_one(l, 9);
        }(layer));
  };
  shard_.ring->run(heard_and_sent(*layer_));
  shard_.ring->set_faults(nullptr);
  const Words words = answers();
  EXPECT_EQ(std::ranges::count(words, "update:0"), 1);
  EXPECT_EQ(std::ranges::count(words, "data:9"), 5);
  EXPECT_EQ(words.size(), 6u);
}

#endif

}  // namespace
}  // namespace sallyport::ktls
