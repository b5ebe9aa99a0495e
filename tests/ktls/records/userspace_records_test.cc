// Where the stream is cut, how it ends, and what is sent behind an end.
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "iouring/both.h"
#include "iouring/faults.h"
#include "tests/ktls/records/userspace_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::from_hex;
using testing::Kind;
using testing::kSuite;
using testing::random_bytes;
using testing::ScriptedPeer;
using testing::send_and_expect;
using testing::send_one;
using testing::Shard;
using testing::Story;
using testing::UserspaceRecords;
using testing::Words;

// ---- cuts ----

Task<void> put_in_two(iouring::Ring& ring, Socket& wire, std::span<const std::byte> bytes,
                      std::size_t cut) {
  if (cut != 0) {
    const auto first = co_await wire.send_all(bytes.first(cut));
    EXPECT_TRUE(first);
  }
  co_await testing::iterate(ring, 2);
  const auto second = co_await wire.send_all(bytes.subspan(cut));
  EXPECT_TRUE(second);
}

Task<void> hear_in_two(Shard& shard, Socket& wire, RecordLayer& layer,
                       std::span<const std::byte> bytes, std::size_t cut, Story& story) {
  co_await both(testing::tell(layer, story), put_in_two(*shard.ring, wire, bytes, cut));
}

TEST_F(UserspaceRecords, DeliversRecordsCutAtEveryByte) {
  const Bytes content = random_bytes(40, 1);
  for (std::size_t cut = 0, size = 1; cut < size; ++cut) {
    connect();
    Bytes bytes = peer_->data(std::span(content).first(10));
    append(bytes, peer_->key_update(KeyUpdateRequest::kUpdateNotRequested));
    append(bytes, peer_->data(std::span(content).subspan(10)));
    append(bytes, peer_->close_notify());
    size = bytes.size();
    Story story;
    shard_.ring->run(hear_in_two(shard_, wire_, *layer_, bytes, cut, story));
    ASSERT_EQ(story.data, content) << cut;
    ASSERT_EQ(story.end, Kind::kCloseNotify) << cut;
  }
  shard_.expect_idle();
}

TEST_F(UserspaceRecords, DeliversBytesLeftOverFromTheHandshakeCutAtEveryByte) {
  const Bytes content = random_bytes(40, 2);
  for (std::size_t cut = 0, size = 1; cut <= size; ++cut) {
    // The layer takes the leftover at construction, so the stream is sealed beforehand.
    ScriptedPeer peer(shard_, testing::mirrored(testing::session_of(kSuite)));
    Bytes bytes = peer.data(std::span(content).first(10));
    append(bytes, peer.data(std::span(content).subspan(10)));
    append(bytes, peer.close_notify());
    size = bytes.size();
    connect(std::span(bytes).first(cut));
    EXPECT_EQ(layer_->unopened().size(), cut);
    put(std::span(bytes).subspan(cut));
    const Story story = hear();
    ASSERT_EQ(story.data, content) << cut;
    ASSERT_EQ(story.end, Kind::kCloseNotify) << cut;
  }
}

TEST_F(UserspaceRecords, DeliversAFullBlockOfLeftover) {
  ScriptedPeer peer(shard_, testing::mirrored(testing::session_of(kSuite)));
  const Bytes content = random_bytes(150'000, 3);
  const Bytes bytes = peer.data(content);
  connect(std::span(bytes).first(60'000));
  put(std::span(bytes).subspan(60'000));
  finish();
  const Story story = hear();
  EXPECT_TRUE(story.data == content);
  EXPECT_EQ(story.end, Kind::kTruncated);
}

TEST_F(UserspaceRecords, DeliversManySmallRecords) {
  connect();
  Bytes bytes;
  const Bytes content = random_bytes(20'000, 4);
  for (std::size_t at = 0; at < content.size(); at += 10) {
    append(bytes, peer_->data(std::span(content).subspan(at, 10)));
  }
  append(bytes, peer_->close_notify());
  const Story story = hear({bytes});
  EXPECT_TRUE(story.data == content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

TEST_F(UserspaceRecords, DeliversRecordsOfMixedSizes) {
  connect();
  Bytes bytes;
  const Bytes content = random_bytes(150'000, 5);
  std::size_t at = 0;
  for (std::size_t i = 0; at < content.size(); ++i) {
    const std::size_t sizes[] = {16384, 1, 5000, 100, 4096, 4095, 16000, 0};
    const std::size_t size = std::min(sizes[i % std::size(sizes)], content.size() - at);
    append(bytes, peer_->data(std::span(content).subspan(at, size)));
    at += size;
  }
  append(bytes, peer_->close_notify());
  const Story story = hear({bytes});
  EXPECT_TRUE(story.data == content);
}

// ---- ends ----

TEST_F(UserspaceRecords, DeliversDataGluedToCloseNotifyAndIgnoresWhatFollows) {
  connect();
  const Bytes content = random_bytes(100, 6);
  const Story story = hear({peer_->data(content), peer_->close_notify(), peer_->data(content),
                            from_hex("deadbeefdeadbeef")});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
  EXPECT_EQ(answers(), Words{});
}

TEST_F(UserspaceRecords, TellsATruncationInMidRecordFromACleanEnd) {
  const Bytes content = random_bytes(100, 7);
  for (const std::size_t missing : {1, 50, 116, 117, 121}) {
    connect();
    const Bytes whole = peer_->data(content);
    Bytes cut = peer_->data(content);
    cut.resize(cut.size() - missing);
    const Story story = hear({whole, cut});
    EXPECT_EQ(story.data, content);
    EXPECT_EQ(story.end, Kind::kTruncated);
  }
  shard_.expect_idle();
}

TEST_F(UserspaceRecords, TakesUserCanceledAsAPreludeToCloseNotify) {
  connect();
  const Bytes content = random_bytes(10, 8);
  const Story story = hear(
      {peer_->alert(AlertDescription::kUserCanceled), peer_->data(content), peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

TEST_F(UserspaceRecords, RefusesAFloodOfUserCanceled) {
  connect();
  for (int i = 0; i < 10; ++i) put(peer_->alert(AlertDescription::kUserCanceled));
  expect_failure(hear(), RecordFailure::kUnexpectedMessage);
}

TEST_F(UserspaceRecords, ReportsAFatalAlertAndSendsNothingAfterIt) {
  connect();
  const Bytes content = random_bytes(10, 9);
  const Story story = hear({peer_->data(content), peer_->alert(AlertDescription::kInternalError)});
  EXPECT_EQ(story.data, content);
  expect_failure(story, RecordFailure::kAlertReceived);
  EXPECT_EQ(story.error.alert, AlertDescription::kInternalError);
  shard_.ring->run(send_and_expect(*layer_, RecordFailure::kPipe));
  EXPECT_EQ(answers(), Words{}) << "an alert must not be answered by an alert";
}

// ---- export, alerts ----

TEST_F(UserspaceRecords, IsExportedBetweenOperationsAndGoesOnElsewhere) {
  connect();
  const Bytes first = random_bytes(100, 15);
  const Bytes second = random_bytes(100, 16);
  Bytes bytes = peer_->key_update(KeyUpdateRequest::kUpdateRequested);
  append(bytes, peer_->data(first));
  const Bytes cut = peer_->data(second);
  append(bytes, std::span(cut).first(60));
  put(bytes);
  Bytes heard;
  shard_.ring->run([](RecordLayer& layer, Bytes& to) -> Task<void> {
    Received received = co_await layer.receive();
    append(to, received);
  }(*layer_, heard));
  EXPECT_EQ(heard, first);
  shard_.ring->run(send_one(*layer_, 5));

  const auto state = layer_->export_state();
  ASSERT_TRUE(state);
  const Bytes unopened(layer_->unopened().begin(), layer_->unopened().end());
  EXPECT_EQ(unopened.size(), 60u);
  Socket socket = std::move(layer_->socket());
  layer_ = userspace_records(std::move(socket), *state, shard_.pools(), unopened);
  put(std::span(cut).subspan(60));
  finish();
  EXPECT_EQ(hear().data, second);
  shard_.ring->run(send_one(*layer_, 6));
  EXPECT_EQ(answers(), (Words{"update:0", "data:5", "data:6"}));
}

Task<void> alert_then_data(RecordLayer& layer) {
  const auto sent = co_await layer.send_alert(AlertDescription::kAccessDenied);
  EXPECT_TRUE(sent);
  co_await send_and_expect(layer, RecordFailure::kPipe);
  const auto closed = co_await layer.send_close();
  EXPECT_TRUE(closed);
}

TEST_F(UserspaceRecords, SendsAnAlertAndNothingAfterIt) {
  connect();
  shard_.ring->run(alert_then_data(*layer_));
  EXPECT_EQ(answers(), Words{"alert:49"});
}

Task<void> close_cancelled(RecordLayer& layer, RecordFailure& failure) {
  const auto closed = co_await layer.send_close();
  if (!closed) failure = closed.error().failure;
}

Task<void> cancel(iouring::CancelScope& scope) {
  scope.cancel();
  co_return;
}

/// The send is in the ring when the cancellation comes, and is carried out; the FIN is not.
Task<void> close_and_cancel(RecordLayer& layer, RecordFailure& failure,
                            iouring::CancelScope& scope) {
  co_await both(close_cancelled(layer, failure), cancel(scope));
}

Task<void> close_in_a_cancelled_scope(RecordLayer& layer, RecordFailure& failure) {
  iouring::CancelScope scope;
  co_await iouring::in_scope(scope, close_and_cancel(layer, failure, scope));
}

TEST_F(UserspaceRecords, KeepsNoCloseNotifyBackForAFinThatWasCancelled) {
  connect();
  iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
  wire_ = std::move(sockets.left);
  layer_ = userspace_records(std::move(sockets.right), testing::session_of(kSuite), shard_.pools());
  RecordFailure failure{};
  shard_.ring->run(close_in_a_cancelled_scope(*layer_, failure));
  ASSERT_EQ(failure, RecordFailure::kCancelled) << to_string(failure);
  int unsent = -1;
  ASSERT_EQ(::ioctl(layer_->socket().descriptor(), SIOCOUTQNSD, &unsent), 0);
  EXPECT_EQ(unsent, 0);
  pollfd readable{.fd = wire_.descriptor(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&readable, 1, -1), 1);
  EXPECT_EQ(answers(), Words{"alert:0"});
}

#ifdef SALLYPORT_FAULTS
TEST_F(UserspaceRecords, SendsNothingAfterAnIncompleteWrite) {
  connect();
  iouring::FaultPlan plan;
  plan.nth(iouring::Opcode::kSend, 1, iouring::Fault::error(ECONNRESET));
  shard_.ring->set_faults(&plan);
  shard_.ring->run([](RecordLayer& layer) -> Task<void> {
    const Bytes data(10);
    const auto sent = co_await layer.send(Chunk::borrowed(data));
    EXPECT_FALSE(sent);
    co_await send_and_expect(layer, RecordFailure::kPipe);
    const auto alert = co_await layer.send_alert(AlertDescription::kInternalError);
    EXPECT_FALSE(alert);
  }(*layer_));
  shard_.ring->set_faults(nullptr);
  EXPECT_EQ(answers(), Words{});
}
#endif

}  // namespace
}  // namespace sallyport::ktls
