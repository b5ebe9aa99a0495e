#include "gateway/connection/backend_linger.h"

#include "iouring/deadline.h"
#include "tests/gateway/connection/relay_fixture.h"

// A client that leaves, and what its backend still has of it.
namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

class BackendLinger : public RelayTest {};

// The client sends `size` bytes and is gone, without close_notify or by a reset.
Task<void> send_and_leave(Layer& client, std::size_t size, bool reset) {
  const Bytes data = ktls::testing::random_bytes(size, 1);
  co_await ktls::testing::send_in_pieces(*client, data, size, 1);
  if (reset) {
    client->socket().reset();
  } else {
    iouring::Result<> shut = co_await client->socket().shutdown_write();
    EXPECT_TRUE(shut);
  }
}

Task<void> leave_then_hear_late(Layer& client, ktls::RecordLayer& backend, milliseconds late,
                                Story& backend_heard) {
  co_await send_and_leave(client, 1000, false);
  iouring::Result<> slept = co_await iouring::sleep_for(backend.socket().ring(), late);
  EXPECT_TRUE(slept);
  co_await ktls::testing::tell(backend, backend_heard);
}

TEST_F(BackendLinger, LeavesASlowBackendItsTimeToRead) {
  timeouts_.unanswered = milliseconds(1'000);
  Story heard;
  run(leave_then_hear_late(client_peer_, *backend_peer_, milliseconds(100), heard));
  EXPECT_EQ(reason_, CloseReason::kClientTruncated);
  EXPECT_EQ(heard.data.size(), 1000u);
  EXPECT_EQ(heard.error.failure, ktls::RecordFailure::kReset);
}

// What the answer meets is no closed socket: that would be a reset in its turn.
Task<void> answer_after_client_left(Layer& client, ktls::RecordLayer& backend, Story& heard) {
  co_await send_and_leave(client, 1000, false);
  for (int i = 0; i < 3; ++i) {
    const Bytes answer = ktls::testing::random_bytes(100'000, 2);
    co_await ktls::testing::send_in_pieces(backend, answer, answer.size(), 1);
  }
  co_await ktls::testing::tell(backend, heard);
}

TEST_F(BackendLinger, DropsTheAnswersAndResetsASecondLater) {
  timeouts_.unanswered = std::chrono::hours(1);
  Story heard;
  run(answer_after_client_left(client_peer_, *backend_peer_, heard));
  EXPECT_EQ(heard.data.size(), 1000u);
  EXPECT_EQ(heard.error.failure, ktls::RecordFailure::kReset);
}

Task<void> end_after_client_left(Layer& client, Layer& backend, Story& heard) {
  co_await send_and_leave(client, 1000, true);
  while (heard.data.size() < 1000) {
    ktls::Received some = co_await backend->receive();
    ktls::testing::append(heard.data, some);
  }
  co_await ktls::testing::send_in_pieces_and_close(*backend, ktls::testing::random_bytes(10, 2), 10,
                                                   1);
  co_await ktls::testing::tell(*backend, heard);
}

TEST_F(BackendLinger, EndsWhenTheBackendHasEnded) {
  timeouts_.answered = timeouts_.unanswered = std::chrono::hours(1);
  Story heard;
  run(end_after_client_left(client_peer_, backend_peer_, heard));
  EXPECT_EQ(reason_, CloseReason::kClientReset);
  EXPECT_EQ(heard.error.failure, ktls::RecordFailure::kReset);
}

TEST_F(BackendLinger, LastsAsLongAsTheHalfCloseTimeoutAtMost) {
  timeouts_.answered = timeouts_.unanswered = std::chrono::hours(1);
  timeouts_.half_close = milliseconds(20);
  Story heard;
  run(leave_then_hear_late(client_peer_, *backend_peer_, milliseconds(0), heard));
  EXPECT_EQ(reason_, CloseReason::kClientTruncated);
  EXPECT_EQ(heard.error.failure, ktls::RecordFailure::kReset);
}

Task<void> say_goodbye_and_hang_up(Layer& client, ktls::RecordLayer& backend, Story& heard) {
  co_await ktls::testing::send_in_pieces_and_close(*client, ktls::testing::random_bytes(1000, 1),
                                                   1000, 1);
  client.reset();
  co_await ktls::testing::tell(backend, heard);
  // The answers meet a client that is gone, and then none: the backend is not cut off from
  // its own work by that.
  for (int i = 0; i < 3; ++i) {
    co_await ktls::testing::send_in_pieces(backend, ktls::testing::random_bytes(100'000, 2),
                                           100'000, 1);
  }
  const auto closed = co_await backend.send_close();
  EXPECT_TRUE(closed);
}

TEST_F(BackendLinger, WaitsForTheEndOfABackendWhoseClientEndedCleanly) {
  Story heard;
  run(say_goodbye_and_hang_up(client_peer_, *backend_peer_, heard));
  EXPECT_EQ(reason_, CloseReason::kClientClosed);
  EXPECT_EQ(heard.data.size(), 1000u);
  EXPECT_EQ(heard.end, Kind::kEndOfStream);
}

enum class EndedBy { kDrain, kAnother };

Task<void> leave_and_be_ended(Layer& client, ktls::RecordLayer& backend, LiveConnection& connection,
                              EndedBy by, std::uint64_t& counted, Story& heard) {
  ShardState& shard = connection.shard();
  co_await send_and_leave(client, 1000, false);
  while (shard.lingering.empty()) co_await next_iteration(shard.ring);
  counted = shard.metrics.sample().listeners.at(0).routes.at(1).lingering;
  if (by == EndedBy::kDrain) {
    connection.end(CloseReason::kDrain);
  } else {
    const auto place = shard.limit.enter();
    EXPECT_TRUE(place) << "taken from the one that lingers";
    end_lingering(shard);
  }
  co_await ktls::testing::tell(backend, heard);
}

TEST_F(BackendLinger, IsCountedAndEndsAtOnceWithADrain) {
  timeouts_.unanswered = std::chrono::hours(1);
  Story heard;
  std::uint64_t lingering = 0;
  run(leave_and_be_ended(client_peer_, *backend_peer_, *connection_, EndedBy::kDrain, lingering,
                         heard));
  EXPECT_EQ(lingering, 1u);
  EXPECT_EQ(reason_, CloseReason::kClientTruncated);
  EXPECT_EQ(heard.error.failure, ktls::RecordFailure::kReset);
  EXPECT_EQ(metrics_.sample().listeners.at(0).routes.at(1).lingering, 0u);
}

TEST_F(BackendLinger, GivesItsPlaceToAnotherConnection) {
  timeouts_.unanswered = std::chrono::hours(1);
  std::vector<ConnectionLimit::Place> places;
  while (auto place = limit_.enter()) places.push_back(*std::move(place));
  Story heard;
  std::uint64_t lingering = 0;
  run(leave_and_be_ended(client_peer_, *backend_peer_, *connection_, EndedBy::kAnother, lingering,
                         heard));
  EXPECT_EQ(heard.error.failure, ktls::RecordFailure::kReset);
}

}  // namespace
}  // namespace sallyport::gateway
