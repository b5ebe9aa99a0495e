#include "iouring/buffer_ring.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "iouring/both.h"
#include "iouring/task_group.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

std::unique_ptr<BufferRing> make_buffers(Ring& ring, std::size_t bytes, unsigned count) {
  Result<std::unique_ptr<BufferRing>> buffers = BufferRing::create(ring, bytes, count);
  if (!buffers) std::abort();
  return std::move(*buffers);
}

Task<std::size_t> recv_lease(Socket& socket, BufferRing& buffers) {
  const Result<Lease> lease = co_await socket.recv(buffers);
  co_return lease ? lease->size() : 0;
}

Task<int> lease_error(Socket& socket, BufferRing& buffers) {
  const Result<Lease> lease = co_await socket.recv(buffers);
  co_return lease ? 0 : lease.error().value;
}

Task<void> release_later(Ring& ring, BufferRing& buffers, std::vector<Lease>& held) {
  while (buffers.waiting() == 0) co_await next_iteration(ring);
  held.clear();
}

TEST(BufferRing, RefusesSizesThatTheKernelWouldRefuse) {
  auto ring = make_ring();
  EXPECT_FALSE(BufferRing::create(*ring, 4096, 3));
  EXPECT_FALSE(BufferRing::create(*ring, 4096, 0));
  EXPECT_FALSE(BufferRing::create(*ring, 4096, 65536));
  EXPECT_FALSE(BufferRing::create(*ring, 0, 4));
}

Task<void> lease_and_give_back(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  for (int i = 0; i < 50; ++i) {  // more than there are buffers
    const std::string text = "message " + std::to_string(i);
    const Result<> sent = co_await pair.left.send_all(as_bytes(text));
    EXPECT_TRUE(sent);
    const Result<Lease> lease = co_await pair.right.recv(buffers);
    EXPECT_TRUE(lease);
    EXPECT_EQ(buffers.leased(), 1U);
    EXPECT_EQ(as_text(lease->bytes()), text);
  }
  EXPECT_EQ(buffers.leased(), 0U);
  pair.left = Socket();
  const Result<Lease> end = co_await pair.right.recv(buffers);
  EXPECT_TRUE(end);
  EXPECT_FALSE(*end);
  EXPECT_EQ(buffers.leased(), 0U);
}

TEST(BufferRing, LeasesABufferForWhatArrivedAndTakesItBack) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 256, 4);
  ring->run(lease_and_give_back(*ring, *buffers));
  EXPECT_EQ(buffers->exhausted(), 0U);
}

Task<void> take_all_then_wait(Ring& ring, BufferRing& buffers) {
  SocketPair pair = tcp_pair(ring);
  const Result<> sent = co_await pair.left.send_all(as_bytes(std::string(48, 'x')));
  EXPECT_TRUE(sent);
  std::vector<Lease> held;
  for (int i = 0; i < 2; ++i) {
    Result<Lease> lease = co_await pair.right.recv(buffers);
    EXPECT_TRUE(lease);
    held.push_back(std::move(*lease));
  }
  EXPECT_EQ(buffers.leased(), 2U);
  auto [third, none] =
      co_await both(recv_lease(pair.right, buffers), release_later(ring, buffers, held));
  static_cast<void>(none);
  EXPECT_EQ(third, 16U);
}

TEST(BufferRing, WaitsForALeaseToEndWhenNoBufferIsFree) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 16, 2);
  ring->run(take_all_then_wait(*ring, *buffers));
  EXPECT_EQ(buffers->exhausted(), 1U);
  EXPECT_EQ(buffers->waiting(), 0U);
  EXPECT_EQ(buffers->leased(), 0U);
}

// Wake-ups of receives whose sockets have no data must not be at the cost of those that have some.
Task<void> receive_one(Socket& socket, BufferRing& buffers, int& received) {
  const Result<Lease> lease = co_await socket.recv(buffers);
  if (lease && *lease) ++received;
}

Task<void> many_wait(Ring& ring, BufferRing& buffers, int& received) {
  constexpr int kPairs = 200;
  std::vector<SocketPair> pairs;
  for (int i = 0; i < kPairs; ++i) pairs.push_back(unix_pair(ring));
  SocketPair extra = unix_pair(ring);
  const Result<> sent = co_await extra.left.send_all(as_bytes("0123456789abcdef"));
  EXPECT_TRUE(sent);
  std::vector<Lease> held(1);
  Result<Lease> only = co_await extra.right.recv(buffers);
  EXPECT_TRUE(only);
  held[0] = std::move(*only);

  TaskGroup group(ring);
  for (SocketPair& pair : pairs) group.spawn(receive_one(pair.right, buffers, received));
  for (int i = 0; i < 3; ++i) co_await next_iteration(ring);
  EXPECT_EQ(buffers.waiting(), static_cast<std::size_t>(kPairs));
  // Only the last has data.
  EXPECT_EQ(::send(pairs.back().left.descriptor(), "x", 1, MSG_NOSIGNAL), 1);
  held.clear();
  while (received == 0) co_await next_iteration(ring);
  for (SocketPair& pair : pairs) {
    if (&pair != &pairs.back()) EXPECT_EQ(::send(pair.left.descriptor(), "y", 1, MSG_NOSIGNAL), 1);
  }
  co_await group.join();
}

TEST(BufferRing, StarvesNoReceiveWhenManyWait) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 16, 1);
  int received = 0;
  ring->run(many_wait(*ring, *buffers, received));
  EXPECT_EQ(received, 200);
  EXPECT_EQ(buffers->leased(), 0U);
}

Task<void> scoped_lease(CancelScope& scope, Socket& socket, BufferRing& buffers, int& error) {
  error = co_await in_scope(scope, lease_error(socket, buffers));
}

Task<void> cancel_when_waiting(Ring& ring, BufferRing& buffers, CancelScope& scope) {
  while (buffers.waiting() == 0) co_await next_iteration(ring);
  scope.cancel();
}

Task<void> cancel_in_queue(Ring& ring, BufferRing& buffers, int& error) {
  SocketPair pair = tcp_pair(ring);
  const Result<> sent = co_await pair.left.send_all(as_bytes("0123456789abcdef!"));
  EXPECT_TRUE(sent);
  const Result<Lease> held = co_await pair.right.recv(buffers);
  EXPECT_TRUE(held);
  CancelScope scope;
  co_await both(scoped_lease(scope, pair.right, buffers, error),
                cancel_when_waiting(ring, buffers, scope));
}

TEST(BufferRing, CancelsAReceiveThatWaitsForABuffer) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 16, 1);
  int error = 0;
  ring->run(cancel_in_queue(*ring, *buffers, error));
  EXPECT_EQ(error, ECANCELED);
  EXPECT_EQ(buffers->waiting(), 0U);
  EXPECT_EQ(buffers->leased(), 0U);
}

Task<void> keep_lease(Socket& socket, BufferRing& buffers, Result<Lease>& lease) {
  lease = co_await socket.recv(buffers);
}

Task<void> scoped_keep(CancelScope& scope, Socket& socket, BufferRing& buffers,
                       Result<Lease>& lease) {
  co_await in_scope(scope, keep_lease(socket, buffers, lease));
}

Task<void> send_and_cancel(Ring& ring, Socket& peer, CancelScope& scope, int mode) {
  co_await next_iteration(ring);
  if (mode == 0) scope.cancel();
  EXPECT_EQ(::send(peer.descriptor(), "z", 1, MSG_NOSIGNAL), 1);
  if (mode == 2) co_await next_iteration(ring);
  scope.cancel();
}

Task<void> race(Ring& ring, BufferRing& buffers, int& delivered) {
  for (int i = 0; i < 90; ++i) {
    SocketPair pair = tcp_pair(ring);
    Result<Lease> lease;
    {
      CancelScope scope;
      co_await both(scoped_keep(scope, pair.right, buffers, lease),
                    send_and_cancel(ring, pair.left, scope, i % 3));
    }
    if (!lease) lease = co_await pair.right.recv(buffers);
    EXPECT_TRUE(lease);
    if (lease) {
      EXPECT_EQ(as_text(lease->bytes()), "z");
      ++delivered;
    }
  }
}

TEST(BufferRing, LosesNeitherBufferNorByteWhenCancelAndArrivalRace) {
  auto ring = make_ring();
  auto buffers = make_buffers(*ring, 16, 2);
  int delivered = 0;
  ring->run(race(*ring, *buffers, delivered));
  EXPECT_EQ(delivered, 90);
  EXPECT_EQ(buffers->leased(), 0U);
}

using BufferRingDeathTest = ::testing::Test;

Task<void> keep_too_long(Ring& ring, std::unique_ptr<BufferRing>& buffers) {
  SocketPair pair = tcp_pair(ring);
  const Result<> sent = co_await pair.left.send_all(as_bytes("x"));
  EXPECT_TRUE(sent);
  const Result<Lease> lease = co_await pair.right.recv(*buffers);
  buffers.reset();
}

TEST(BufferRingDeathTest, AbortsWhenDestroyedBeforeALease) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        auto buffers = make_buffers(*ring, 16, 2);
        ring->run(keep_too_long(*ring, buffers));
      },
      "a buffer ring outlives its leases.*found 1");
}

}  // namespace
}  // namespace sallyport::iouring
