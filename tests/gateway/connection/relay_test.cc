#include "gateway/connection/relay.h"

#include <malloc.h>
#include <sys/socket.h>

#include "gateway/connection/quiet_moment.h"
#include "gateway/connection/relay_end.h"
#include "gateway/connection/relay_state.h"
#include "iouring/deadline.h"
#include "iouring/frame_memory.h"
#include "iouring/sanitizers.h"
#include "tests/gateway/connection/relay_fixture.h"
#include "tests/iouring/fixture.h"

namespace sallyport::gateway {
namespace {

// Bytes of frames while the relay idles, and when it has ended.
Task<void> weigh_frames(iouring::Ring& ring, LiveConnection& connection, Layer& client_peer,
                        Layer& backend_peer, const Layer& client, std::size_t& idle,
                        std::size_t& ended) {
  for (int turns = 0; turns < 3; ++turns) co_await next_iteration(ring);
  idle = iouring::FrameMemory::live_bytes();
  connection.end(CloseReason::kDrain);
  client_peer.reset();
  backend_peer.reset();
  while (client) co_await next_iteration(ring);
  ended = iouring::FrameMemory::live_bytes();
}

Task<void> hear(ktls::RecordLayer& a, ktls::RecordLayer& b, Story& heard_a, Story& heard_b) {
  co_await iouring::both(ktls::testing::tell(a, heard_a), ktls::testing::tell(b, heard_b));
}

Task<void> say(ktls::RecordLayer& a, ktls::RecordLayer& b, const Bytes& up, const Bytes& down) {
  co_await iouring::both(ktls::testing::send_in_pieces_and_close(a, up, 50'000, 1),
                         ktls::testing::send_in_pieces_and_close(b, down, 50'000, 2));
}

Task<void> say_and_hear(ktls::RecordLayer& a, ktls::RecordLayer& b, const Bytes& up,
                        const Bytes& down, Story& heard_a, Story& heard_b) {
  co_await iouring::both(say(a, b, up, down), hear(a, b, heard_a, heard_b));
}

TEST_F(RelayTest, CarriesMegabytesBothWaysAndEndsDone) {
  const Bytes up = ktls::testing::random_bytes(3'000'000, 1);
  const Bytes down = ktls::testing::random_bytes(2'000'000, 2);
  Story client_heard, backend_heard;
  run(say_and_hear(*client_peer_, *backend_peer_, up, down, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kDone);
  EXPECT_TRUE(backend_heard.data == up);
  EXPECT_TRUE(client_heard.data == down);
  EXPECT_EQ(backend_heard.end, Kind::kEndOfStream);
  EXPECT_EQ(client_heard.end, Kind::kCloseNotify);
}

Task<void> half_close_then_answer(ktls::RecordLayer& client, ktls::RecordLayer& backend,
                                  Story& client_heard, Story& backend_heard) {
  const Bytes question = ktls::testing::random_bytes(1000, 3);
  co_await ktls::testing::send_in_pieces_and_close(client, question, 1000, 1);
  co_await ktls::testing::tell(backend, backend_heard);
  co_await ktls::testing::send_in_pieces_and_close(backend, backend_heard.data, 100, 1);
  co_await ktls::testing::tell(client, client_heard);
}

TEST_F(RelayTest, KeepsAHalfClosedClientUntilTheBackendHasAnswered) {
  Story client_heard, backend_heard;
  run(half_close_then_answer(*client_peer_, *backend_peer_, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kDone);
  EXPECT_EQ(backend_heard.data.size(), 1000u);
  EXPECT_TRUE(client_heard.data == backend_heard.data);
}

Task<void> send_then_drop(Layer& client, ktls::RecordLayer& backend, Story& backend_heard) {
  const Bytes data = ktls::testing::random_bytes(1000, 4);
  co_await ktls::testing::send_in_pieces(*client, data, 1000, 1);
  iouring::Result<> shut = co_await client->socket().shutdown_write();  // FIN, no close_notify
  EXPECT_TRUE(shut);
  co_await ktls::testing::tell(backend, backend_heard);
  client.reset();
}

TEST_F(RelayTest, DeliversWhatCameBeforeATruncationThenResetsTheBackend) {
  Story backend_heard;
  run(send_then_drop(client_peer_, *backend_peer_, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kClientTruncated);
  EXPECT_EQ(backend_heard.data.size(), 1000u);
  EXPECT_EQ(backend_heard.end, Kind::kFailed);
  EXPECT_EQ(backend_heard.error.failure, ktls::RecordFailure::kReset);
}

Task<void> send_drop_and_answer(Layer& client, ktls::RecordLayer& backend, Story& backend_heard) {
  const Bytes data = ktls::testing::random_bytes(1000, 4);
  co_await ktls::testing::send_in_pieces(*client, data, 1000, 1);
  iouring::Result<> shut = co_await client->socket().shutdown_write();
  EXPECT_TRUE(shut);
  co_await ktls::testing::tell(backend, backend_heard);
  const auto closed = co_await backend.send_close();
  EXPECT_TRUE(closed);
}

TEST_F(RelayTest, EndsATruncatedStreamCleanlyWhereTheRouteSaysSo) {
  with_truncation(Truncation::kClose);
  Story backend_heard;
  run(send_drop_and_answer(client_peer_, *backend_peer_, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kDone);
  EXPECT_EQ(backend_heard.data.size(), 1000u);
  EXPECT_EQ(backend_heard.end, Kind::kEndOfStream);
}

Task<void> backend_resets(ktls::RecordLayer& client, Layer& backend, Story& client_heard) {
  const Bytes data = ktls::testing::random_bytes(1000, 5);
  co_await ktls::testing::send_in_pieces(*backend, data, 1000, 1);
  ktls::Received first = co_await client.receive();
  EXPECT_EQ(first.kind, Kind::kData);
  backend->socket().reset();
  co_await ktls::testing::tell(client, client_heard);
}

TEST_F(RelayTest, PassesABackendsResetOnAsAReset) {
  Story client_heard;
  run(backend_resets(*client_peer_, backend_peer_, client_heard));
  EXPECT_EQ(reason_, CloseReason::kBackendReset);
  EXPECT_EQ(client_heard.end, Kind::kFailed);
  EXPECT_EQ(client_heard.error.failure, ktls::RecordFailure::kReset);
}

Task<void> client_resets(Layer& client, ktls::RecordLayer& backend, Story& backend_heard) {
  const Bytes data = ktls::testing::random_bytes(1000, 4);
  co_await ktls::testing::send_in_pieces(*client, data, 1000, 1);
  client->socket().reset();
  co_await ktls::testing::tell(backend, backend_heard);
}

Task<void> reset_behind_what_is_not_read(ktls::RecordLayer& client, Layer& backend,
                                         LiveConnection& connection) {
  constexpr std::size_t kSize = 1'000'000;
  const int size = 1;
  EXPECT_EQ(::setsockopt(client.socket().descriptor(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size),
            0);
  co_await ktls::testing::send_one(*backend, kSize);
  while (connection.facts().sent_bytes < kSize) co_await next_iteration(client.socket().ring());
  backend->socket().reset();
}

// The client's kernel answers, so that nothing else ends it.
TEST_F(RelayTest, WaitsOnlySoLongForAClientToTakeWhatCameBeforeTheReset) {
  timeouts_.half_close = std::chrono::milliseconds(0);
  timeouts_.lingering = std::chrono::milliseconds(20);
  run(reset_behind_what_is_not_read(*client_peer_, backend_peer_, *connection_));
  EXPECT_EQ(reason_, CloseReason::kBackendReset);
}

TEST_F(RelayTest, DeliversWhatCameBeforeAResetOfTheClient) {
  Story backend_heard;
  run(client_resets(client_peer_, *backend_peer_, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kClientReset);
  EXPECT_EQ(backend_heard.data.size(), 1000u);
  EXPECT_EQ(backend_heard.end, Kind::kFailed);
}

Task<void> backend_ends_first(Layer& client, ktls::RecordLayer& backend, Story& client_heard) {
  const Bytes data = ktls::testing::random_bytes(1000, 6);
  co_await ktls::testing::send_in_pieces_and_close(backend, data, 1000, 1);
  co_await ktls::testing::tell(*client, client_heard);
  client.reset();  // without close_notify, as many clients do once they have ours
}

TEST_F(RelayTest, EndsAsBackendClosedWhenTheClientLeavesAfterTheBackend) {
  Story client_heard;
  run(backend_ends_first(client_peer_, *backend_peer_, client_heard));
  EXPECT_EQ(reason_, CloseReason::kBackendClosed);
  EXPECT_EQ(client_heard.data.size(), 1000u);
  EXPECT_EQ(client_heard.end, Kind::kCloseNotify);
}

// Of what was ready for it.
class RelayOfWarm : public RelayTest {
 protected:
  void SetUp() override {
    RelayTest::SetUp();
    connection_->set_warm(true);
  }
  // Hits and misses, as they are shown.
  std::string counted() {
    client_.reset();
    connection_.reset();
    const std::string scrape = registry_.scrape();
    const auto value_of = [&scrape](const std::string& name) {
      const std::string series = "\nsallyport_warm_" + name + "_total{route=\"orders\"} ";
      const std::size_t place = scrape.find(series);
      return place == std::string::npos ? "?" : scrape.substr(place + series.size(), 1);
    };
    return value_of("hits") + " " + value_of("misses");
  }
};

TEST_F(RelayOfWarm, CountsAHitOnceTheBackendAnswers) {
  Story client_heard;
  run(backend_ends_first(client_peer_, *backend_peer_, client_heard));
  EXPECT_EQ(counted(), "1 0");
}

Task<void> backend_ends_unanswered(Layer& client, ktls::RecordLayer& backend) {
  co_await ktls::testing::send_one(*client, 100);
  co_await backend.send_close();
  Story client_heard;
  co_await ktls::testing::tell(*client, client_heard);
  client.reset();
}
TEST_F(RelayOfWarm, CountsAMissWhereTheBackendEndsItUnanswered) {
  run(backend_ends_unanswered(client_peer_, *backend_peer_));
  EXPECT_EQ(counted(), "0 1");
}

Task<void> backend_resets_unanswered(Layer& client, Layer& backend) {
  co_await ktls::testing::send_one(*client, 100);
  backend->socket().reset();
  Story client_heard;
  co_await ktls::testing::tell(*client, client_heard);
  client.reset();
}
TEST_F(RelayOfWarm, CountsAMissWhereTheBackendResetsItUnanswered) {
  run(backend_resets_unanswered(client_peer_, backend_peer_));
  EXPECT_EQ(counted(), "0 1");
}

Task<void> client_ends_unanswered(Layer& client, ktls::RecordLayer& backend) {
  co_await client->send_close();
  Story heard;
  co_await ktls::testing::tell(backend, heard);
  co_await backend.send_close();
  co_await ktls::testing::tell(*client, heard);
  client.reset();
}
TEST_F(RelayOfWarm, CountsAHitWhereTheClientWantsNoAnswer) {
  run(client_ends_unanswered(client_peer_, *backend_peer_));
  EXPECT_EQ(counted(), "1 0");
}

Task<void> hear_both(ktls::RecordLayer& client, ktls::RecordLayer& backend, Story& client_heard,
                     Story& backend_heard) {
  co_await iouring::both(ktls::testing::tell(client, client_heard),
                         ktls::testing::tell(backend, backend_heard));
  client.socket() = iouring::Socket();
}

TEST_F(RelayTest, EndsASilentConnectionAfterTheIdleTimeout) {
  timeouts_.idle = std::chrono::milliseconds(20);
  Story client_heard, backend_heard;
  run(hear_both(*client_peer_, *backend_peer_, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kIdleTimeout);
  EXPECT_EQ(client_heard.end, Kind::kTruncated) << "no clean end that the backend did not give";
  EXPECT_EQ(backend_heard.end, Kind::kFailed) << "no clean end that the client did not give";
}

TEST_F(RelayTest, EndsAnOldConnectionAfterItsLifetime) {
  timeouts_.lifetime = std::chrono::milliseconds(60);
  timeouts_.still = std::chrono::milliseconds(10);
  Story client_heard, backend_heard;
  run(hear_both(*client_peer_, *backend_peer_, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kLifetime);
  EXPECT_EQ(client_heard.end, Kind::kCloseNotify) << "nothing moved";
}

Task<void> close_and_hear(ktls::RecordLayer& client, ktls::RecordLayer& backend,
                          Story& client_heard, Story& backend_heard) {
  const auto closed = co_await client.send_close();
  EXPECT_TRUE(closed);
  co_await hear_both(client, backend, client_heard, backend_heard);
}

TEST_F(RelayTest, WaitsForTheOtherHalfOnlySoLong) {
  timeouts_.half_close = std::chrono::milliseconds(20);
  Story client_heard, backend_heard;
  run(close_and_hear(*client_peer_, *backend_peer_, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kHalfCloseTimeout);
  EXPECT_EQ(client_heard.end, Kind::kTruncated);
}

Task<void> end_and_hear(LiveConnection& connection, ktls::RecordLayer& client,
                        ktls::RecordLayer& backend, Story& client_heard, Story& backend_heard) {
  end_when_quiet(connection, CloseReason::kDrain);
  co_await hear_both(client, backend, client_heard, backend_heard);
}

TEST_F(RelayTest, SaysGoodbyeToTheClientWhenItIsDrained) {
  timeouts_.still = std::chrono::milliseconds(10);
  Story client_heard, backend_heard;
  run(end_and_hear(*connection_, *client_peer_, *backend_peer_, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kDrain);
  EXPECT_EQ(client_heard.end, Kind::kCloseNotify);
  EXPECT_EQ(backend_heard.end, Kind::kFailed);
}

Task<void> change_the_reason_and_hear(LiveConnection& connection, ktls::RecordLayer& client,
                                      ktls::RecordLayer& backend, Story& client_heard,
                                      Story& backend_heard) {
  end_when_quiet(connection, CloseReason::kDrain);
  end_no_more_when_quiet(connection, CloseReason::kExpired);
  EXPECT_EQ(connection.relay()->ends_when_quiet, CloseReason::kDrain) << "not for another reason";
  end_no_more_when_quiet(connection, CloseReason::kDrain);
  end_when_quiet(connection, CloseReason::kExpired);
  EXPECT_EQ(connection.relay()->beside->size(), 1U) << "one looks";
  co_await hear_both(client, backend, client_heard, backend_heard);
}

TEST_F(RelayTest, EndsAtAQuietMomentForTheReasonThatHolds) {
  timeouts_.still = std::chrono::milliseconds(10);
  Story client_heard, backend_heard;
  run(change_the_reason_and_hear(*connection_, *client_peer_, *backend_peer_, client_heard,
                                 backend_heard));
  EXPECT_EQ(reason_, CloseReason::kExpired);
  EXPECT_EQ(client_heard.end, Kind::kCloseNotify);
}

Task<void> revoke_and_hear(LiveConnection& connection, ktls::RecordLayer& client,
                           ktls::RecordLayer& backend, Story& client_heard, Story& backend_heard) {
  end_with_alert(connection, CloseReason::kRevoked);
  co_await hear_both(client, backend, client_heard, backend_heard);
}

TEST_F(RelayTest, ResetsAnApplicationThatNoAlertCanReach) {
  with_plaintext_from_client();
  with_tls_to_backend();
  Story client_heard, backend_heard;
  run(revoke_and_hear(*connection_, *client_peer_, *backend_peer_, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kRevoked);
  EXPECT_EQ(client_heard.end, Kind::kFailed) << "a FIN would be a clean end";
  EXPECT_EQ(backend_heard.end, Kind::kFailed);
}

/// Its sockets are in the ring's table: the kernel is asked for a descriptor before what it knows
/// of a peer can be looked at.
class RelayOfTable : public RelayTest {
 protected:
  RelayOfTable() : RelayTest({.registered_descriptors = 16}) {}

  Task<void> move_to_table() {
    for (iouring::Socket* const socket : {&client_->records->socket(), &backend_->socket()}) {
      iouring::Result<> moved = co_await socket->to_table();
      EXPECT_TRUE(moved);
      in_table_ = in_table_ && socket->in_table();
    }
  }
  Task<void> play();

  bool in_table_ = true;
  Story client_heard_, backend_heard_;
};

Task<void> RelayOfTable::play() {
  const std::vector<std::byte> request(100);
  iouring::Result<> slept = co_await iouring::sleep_for(*shard_.ring, 5 * timeouts_.still);
  EXPECT_TRUE(slept);
  end_when_quiet(*connection_, CloseReason::kExpired);
  co_await next_iteration(*shard_.ring);  // it waits for a descriptor
  end_no_more_when_quiet(*connection_, CloseReason::kExpired);
  slept = co_await iouring::sleep_for(*shard_.ring, 5 * timeouts_.still);
  EXPECT_TRUE(slept);
  co_await ktls::testing::send_one(*client_peer_, request.size());
  ktls::Received got = co_await backend_peer_->receive();
  EXPECT_EQ(got.size(), request.size());
  connection_->end(CloseReason::kDrain);
  co_await hear_both(*client_peer_, *backend_peer_, client_heard_, backend_heard_);
}

// It was found after the question had been taken back. The client waits for an answer when it ends.
TEST_F(RelayOfTable, AQuietMomentThatIsOverIsNoCleanEndLater) {
  timeouts_.still = std::chrono::milliseconds(10);
  shard_.ring->run(move_to_table());
  if (!in_table_) GTEST_SKIP() << iouring::kNoTables;
  run(play());
  EXPECT_EQ(reason_, CloseReason::kDrain);
  EXPECT_EQ(client_heard_.end, Kind::kTruncated);
}

Task<void> send_garbage(ktls::RecordLayer& client, ktls::RecordLayer& backend, Story& client_heard,
                        Story& backend_heard) {
  const Bytes garbage =
      ktls::testing::from_hex("1703030014000102030405060708090a0b0c0d0e0f10111213");
  iouring::Result<> sent = co_await client.socket().send_all(garbage);
  EXPECT_TRUE(sent);
  co_await hear_both(client, backend, client_heard, backend_heard);
}

TEST_F(RelayTest, TellsTheClientThatARecordDidNotAuthenticate) {
  Story client_heard, backend_heard;
  run(send_garbage(*client_peer_, *backend_peer_, client_heard, backend_heard));
  EXPECT_EQ(reason_, CloseReason::kRecordError);
  EXPECT_EQ(client_heard.end, Kind::kFailed);
  EXPECT_EQ(client_heard.error.failure, ktls::RecordFailure::kAlertReceived);
  EXPECT_EQ(client_heard.error.alert, ktls::AlertDescription::kBadRecordMac);
  EXPECT_EQ(backend_heard.end, Kind::kFailed);
}

// What an idle connection consists of, pinned in both directions: bench/README.md has the list.
TEST_F(RelayTest, IdlesInSmallObjects) {
  if (iouring::kSanitized) GTEST_SKIP() << "sanitized builds have other sizes";
  EXPECT_LE(sizeof(LiveConnection), 256U);
  EXPECT_GE(sizeof(LiveConnection), 200U);
  const std::size_t client = ::malloc_usable_size(client_->records.get());
  EXPECT_LE(client, 528U);
  EXPECT_GE(client, 400U);
  EXPECT_LE(::malloc_usable_size(backend_.get()), 80U);
}

TEST_F(RelayTest, IdlesInThreeSmallFrames) {
#ifndef __OPTIMIZE__
  GTEST_SKIP() << "frames are only small in optimised builds";
#endif
  if (iouring::kSanitized) GTEST_SKIP() << "sanitized builds have other sizes";
  std::size_t idle = 0;
  std::size_t ended = 0;
  run(weigh_frames(*shard_.ring, *connection_, client_peer_, backend_peer_, client_->records, idle,
                   ended));
  EXPECT_LE(idle - ended, 832U);
  EXPECT_GE(idle - ended, 600U);
}

}  // namespace
}  // namespace sallyport::gateway
