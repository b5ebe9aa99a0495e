// The userspace model facing a peer that the test plays by hand: it holds the keys, and chooses
// every byte and where the stream is cut.
#include "ktls/records/userspace_records.h"

#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "iouring/both.h"
#include "iouring/faults.h"
#include "ktls/records/post_handshake.h"
#include "tests/ktls/records/bulk_key_updates.h"
#include "tests/ktls/records/layer_fixture.h"
#include "tests/ktls/records/scripted_peer.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;
using testing::answers_amid_bulk;
using testing::append;
using testing::Bytes;
using testing::close_it;
using testing::from_hex;
using testing::Kind;
using testing::Layer;
using testing::random_bytes;
using testing::read_all;
using testing::ScriptedPeer;
using testing::send_one;
using testing::Shard;
using testing::Story;
using testing::Words;

constexpr auto kSuite = CipherSuite::kAes128GcmSha256;

class UserspaceRecords : public ::testing::Test {
 protected:
  void connect(std::span<const std::byte> leftover = {}, Role role = Role::kServer,
               const SessionState& state = testing::session_of(kSuite)) {
    layer_.reset();
    // Unix sockets deliver before send() returns, so that the tests need not wait for bytes.
    iouring::SocketPair sockets = iouring::unix_pair(*shard_.ring);
    wire_ = std::move(sockets.left);
    layer_ = userspace_records(std::move(sockets.right), state, shard_.pools(), leftover, role);
    peer_.emplace(shard_, testing::mirrored(state));
  }

  /// Puts bytes on the wire; they fit into the socket.
  void put(std::span<const std::byte> bytes) {
    ASSERT_EQ(::send(wire_.descriptor(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void finish() { ::shutdown(wire_.descriptor(), SHUT_WR); }
  /// Everything that the layer has put on the wire so far.
  Bytes wire_bytes() {
    Bytes bytes(1 << 20);
    const ssize_t size = ::recv(wire_.descriptor(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return bytes;
  }
  std::vector<std::string> answers() { return peer_->read(wire_bytes()); }

  Story hear() {
    Story story;
    shard_.ring->run(testing::tell(*layer_, story));
    return story;
  }
  Story hear(std::initializer_list<Bytes> records) {
    for (const Bytes& record : records) put(record);
    finish();
    return hear();
  }
  void expect_failure(const Story& story, RecordFailure failure) {
    EXPECT_EQ(story.end, Kind::kFailed) << testing::to_string(story.end);
    EXPECT_EQ(story.error.failure, failure) << to_string(story.error.failure);
  }

  Shard shard_;
  Socket wire_;
  Layer layer_;
  std::optional<ScriptedPeer> peer_;
};

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

Task<void> send_and_expect_pipe(RecordLayer& layer) {
  const Bytes data(10);
  const auto sent = co_await layer.send(Chunk::borrowed(data));
  EXPECT_FALSE(sent);
  if (!sent) EXPECT_EQ(sent.error().failure, RecordFailure::kPipe);
}

TEST_F(UserspaceRecords, ReportsAFatalAlertAndSendsNothingAfterIt) {
  connect();
  const Bytes content = random_bytes(10, 9);
  const Story story = hear({peer_->data(content), peer_->alert(AlertDescription::kInternalError)});
  EXPECT_EQ(story.data, content);
  expect_failure(story, RecordFailure::kAlertReceived);
  EXPECT_EQ(story.error.alert, AlertDescription::kInternalError);
  shard_.ring->run(send_and_expect_pipe(*layer_));
  EXPECT_EQ(answers(), Words{}) << "an alert must not be answered by an alert";
}

// ---- offences: what came before is delivered, then the alert is on the wire ----

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
    shard_.ring->run(send_and_expect_pipe(*layer_));
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

// ---- KeyUpdate ----

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
  co_await send_and_expect_pipe(layer);
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

TEST_F(UserspaceRecords, SendsNothingAfterAnIncompleteWrite) {
  connect();
  iouring::FaultPlan plan;
  plan.nth(iouring::Opcode::kSend, 1, iouring::Fault::error(ECONNRESET));
  shard_.ring->set_faults(&plan);
  shard_.ring->run([](RecordLayer& layer) -> Task<void> {
    const Bytes data(10);
    const auto sent = co_await layer.send(Chunk::borrowed(data));
    EXPECT_FALSE(sent);
    co_await send_and_expect_pipe(layer);
    const auto alert = co_await layer.send_alert(AlertDescription::kInternalError);
    EXPECT_FALSE(alert);
  }(*layer_));
  shard_.ring->set_faults(nullptr);
  EXPECT_EQ(answers(), Words{});
}
#endif

}  // namespace
}  // namespace sallyport::ktls
