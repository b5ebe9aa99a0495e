#include "iouring/recv_stream.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "iouring/both.h"
#include "tests/iouring/buffers.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

void say(Socket& peer, std::string_view text) {
  EXPECT_EQ(::send(peer.descriptor(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT),
            static_cast<ssize_t>(text.size()));
}

/// So many messages that the stream stays in flight.
Task<void> grow_calm(Socket& peer, RecvStream& stream, BufferRing& buffers) {
  for (int i = 0; i < 4; ++i) {
    say(peer, "calm");
    stream.next_from(buffers, true);
    const Result<Lease> lease = co_await stream;
    EXPECT_TRUE(lease && as_text(lease->bytes()) == "calm");
  }
  EXPECT_TRUE(stream.in_flight());
}

/// Until what was sent has come to `socket`, which nobody asked for it.
Task<void> until_ahead(Ring& ring, const Socket& socket) {
  while (!socket.more_waiting()) co_await ring.yield();
}

Task<void> converse(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  for (int i = 0; i < 50; ++i) {  // more than there are buffers
    const std::string text = "message " + std::to_string(i);
    say(pair.left, text);
    stream.next_from(buffers, true);
    Result<Lease> lease = co_await stream;
    EXPECT_TRUE(lease);
    EXPECT_EQ(as_text(lease->bytes()), text);
    EXPECT_EQ(buffers.leased(), 1U);
    EXPECT_EQ(stream.in_flight(), i >= 2) << i;
    EXPECT_EQ(pair.right.in_flight(), i >= 2 ? 1U : 0U) << i;
  }
  pair.left = Socket();
  const Result<Lease> end = co_await stream;
  EXPECT_TRUE(end);
  EXPECT_FALSE(*end);
  EXPECT_FALSE(stream.in_flight());
}

TEST(RecvStream, StaysInFlightWhereMessagesComeOneAtATime) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  ring->run(converse(*ring, *buffers));
  EXPECT_EQ(buffers->leased(), 0U);
  EXPECT_EQ(buffers->exhausted(), 0U);
}

Task<void> never_stay(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  for (int i = 0; i < 8; ++i) {
    say(pair.left, "x");
    stream.next_from(buffers, false);
    const Result<Lease> lease = co_await stream;
    EXPECT_TRUE(lease);
    EXPECT_FALSE(stream.in_flight());
  }
}

TEST(RecvStream, DoesNotStayWhereItMayNot) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  ring->run(never_stay(*ring, *buffers));
}

Task<void> come_early(Ring& ring, BufferRing& buffers, bool unix) {
  SocketPair pair = unix ? unix_pair(ring) : tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  say(pair.left, "nobody ");
  co_await until_ahead(ring, pair.right);
  EXPECT_EQ(buffers.leased(), 0U) << "what nobody waits for keeps no buffer";
  say(pair.left, "asked for this");
  co_await stream.ended();
  EXPECT_EQ(pair.right.in_flight(), 0U);
  const std::string text = co_await recv_exactly(pair.right, 21);
  EXPECT_EQ(text, "nobody asked for this");

  // It goes on, but does not stay.
  for (int i = 0; i < 8; ++i) {
    say(pair.left, "x");
    stream.next_from(buffers, true);
    const Result<Lease> lease = co_await stream;
    EXPECT_TRUE(lease && as_text(lease->bytes()) == "x");
    EXPECT_FALSE(stream.in_flight());
  }
}

TEST(RecvStream, KeepsWhatComesWhileNobodyWaits) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  for (const bool unix : {false, true}) ring->run(come_early(*ring, *buffers, unix));
  EXPECT_EQ(buffers->leased(), 0U);
}

Task<void> flood(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  std::string much(30'000, '\0');
  for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * 31 % 251);
  say(pair.left, much);
  co_await until_ahead(ring, pair.right);
  for (int i = 0; i < 20; ++i) co_await ring.yield();
  EXPECT_FALSE(stream.in_flight());
  std::string room(much.size(), '\0');
  Result<std::size_t> ahead = co_await pair.right.recv(std::as_writable_bytes(std::span(room)));
  EXPECT_TRUE(ahead);
  EXPECT_LE(*ahead, 2 * buffers.count() * buffers.buffer_bytes());
  EXPECT_TRUE(pair.right.more_waiting());
  const std::string rest = co_await recv_exactly(pair.right, much.size() - *ahead);
  EXPECT_TRUE(room.substr(0, *ahead) + rest == much);
}

TEST(RecvStream, TakesNoMoreThanTheBuffersHoldWhileNobodyWaits) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  ring->run(flood(*ring, *buffers));
  EXPECT_EQ(buffers->leased(), 0U);
}

Task<void> reset_behind_bytes(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  pair.left.reset();
  co_await until_ahead(ring, pair.right);
  co_await stream.ended();
  std::string room(8, '\0');
  const Result<std::size_t> failed =
      co_await pair.right.recv(std::as_writable_bytes(std::span(room)));
  EXPECT_FALSE(failed);
  if (!failed) EXPECT_EQ(failed.error().value, ECONNRESET);
}

TEST(RecvStream, TellsOfAResetThatCameWhileNobodyWaited) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  ring->run(reset_behind_bytes(*ring, *buffers));
}

Task<void> end_behind_bytes(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  say(pair.left, "last words");
  pair.left = Socket();
  co_await until_ahead(ring, pair.right);
  co_await stream.ended();
  const std::string text = co_await recv_all(pair.right);
  EXPECT_EQ(text, "last words");
}

TEST(RecvStream, TellsOfAnEndOfFileBehindWhatCame) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  ring->run(end_behind_bytes(*ring, *buffers));
}

Task<void> take_next(RecvStream& stream, Result<Lease>& lease) {
  lease = co_await stream;
}

Task<void> take_in(CancelScope& scope, RecvStream& stream, Result<Lease>& lease) {
  co_await in_scope(scope, take_next(stream, lease));
}

Task<void> say_and_cancel(Ring& ring, Socket& peer, CancelScope& scope, int mode) {
  co_await ring.yield();
  if (mode == 0) scope.cancel();
  say(peer, "z");
  if (mode == 2) co_await ring.yield();
  scope.cancel();
}

Task<void> race(Ring& ring, BufferRing& buffers, int& delivered) {
  for (int i = 0; i < 90; ++i) {
    SocketPair pair = tcp_pair(ring);
    RecvStream stream(pair.right, buffers);
    co_await grow_calm(pair.left, stream, buffers);
    Result<Lease> lease;
    {
      CancelScope scope;
      co_await both(take_in(scope, stream, lease), say_and_cancel(ring, pair.left, scope, i % 3));
    }
    co_await stream.ended();
    EXPECT_EQ(pair.right.in_flight(), 0U);
    std::string text = lease ? std::string(as_text(lease->bytes())) : std::string();
    if (!lease) EXPECT_EQ(lease.error().value, ECANCELED);
    if (!lease) text = co_await recv_exactly(pair.right, 1);
    EXPECT_EQ(text, "z");
    delivered += text == "z" ? 1 : 0;
  }
}

TEST(RecvStream, LosesNeitherBufferNorByteWhenCancelAndArrivalRace) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 16, 2);
  int delivered = 0;
  ring->run(race(*ring, *buffers, delivered));
  EXPECT_EQ(delivered, 90);
  EXPECT_EQ(buffers->leased(), 0U);
}

Task<void> end_cancelled(RecvStream& stream, CancelScope& scope) {
  scope.cancel();
  const Result<Lease> refused = co_await stream;
  EXPECT_FALSE(refused);
  EXPECT_TRUE(stream.in_flight());
  co_await stream.ended();
  EXPECT_FALSE(stream.in_flight());
}

Task<void> end_in_cancelled_scope(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  CancelScope scope;
  co_await in_scope(scope, end_cancelled(stream, scope));
}

TEST(RecvStream, EndsInACancelledScopeToo) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  ring->run(end_in_cancelled_scope(*ring, *buffers));
}

Task<void> say_then_give_back(Ring& ring, Socket& peer, BufferRing& buffers, Lease& held) {
  say(peer, "waited");
  while (buffers.waiting() == 0) co_await ring.yield();
  held.release();
}

Task<Lease> hold_buffer(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  say(pair.left, "held");
  Result<Lease> held = co_await pair.right.recv(buffers);
  EXPECT_TRUE(held);
  co_return std::move(*held);
}

Task<void> wait_for_buffer(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  const Lease first = co_await hold_buffer(ring, buffers);
  Lease second = co_await hold_buffer(ring, buffers);
  Result<Lease> lease;
  co_await both(take_next(stream, lease), say_then_give_back(ring, pair.left, buffers, second));
  EXPECT_TRUE(lease && as_text(lease->bytes()) == "waited");
  co_await stream.ended();
}

TEST(RecvStream, WaitsForALeaseToEndWhenAllAreOut) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 16, 2);
  ring->run(wait_for_buffer(*ring, *buffers));
  EXPECT_EQ(buffers->exhausted(), 1U);
  EXPECT_EQ(buffers->leased(), 0U);
}

using RecvStreamDeathTest = ::testing::Test;

Task<void> close_armed(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  pair.right.reset();
}

TEST(RecvStreamDeathTest, AbortsWhenTheSocketIsClosedBeforeItEnded) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        auto buffers = make_buffers(*ring, 256, 4);
        ring->run(close_armed(*ring, *buffers));
      },
      "a socket is closed when no operation is in flight");
}

Task<void> overtake(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  RecvStream stream(pair.right, buffers);
  co_await grow_calm(pair.left, stream, buffers);
  say(pair.left, "ahead");
  co_await until_ahead(ring, pair.right);
  co_await stream.ended();
  const Result<Lease> lease = co_await pair.right.recv(buffers);
}

TEST(RecvStreamDeathTest, AbortsWhenAReceiveWouldOvertakeWhatCameAhead) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        auto buffers = make_buffers(*ring, 256, 4);
        ring->run(overtake(*ring, *buffers));
      },
      "what was received ahead is taken before anything else");
}

}  // namespace
}  // namespace sallyport::iouring
