#include "iouring/cancel.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <random>

#include "iouring/both.h"
#include "iouring/deadline.h"
#include "iouring/task_group.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

Task<int> scoped_recv(CancelScope& scope, Socket& socket) {
  const int error = co_await in_scope(scope, recv_error(socket));
  co_return error;
}

Task<void> scoped(CancelScope& scope, Task<void> task) {
  co_await in_scope(scope, std::move(task));
}

Task<void> cancel_next_iteration(Ring& ring, CancelScope& scope) {
  co_await next_iteration(ring);
  scope.cancel();
}

Task<void> cancel_a_receive(Ring& ring, SocketPair pair, int& error) {
  CancelScope scope;
  auto [failed, none] =
      co_await both(scoped_recv(scope, pair.left), cancel_next_iteration(ring, scope));
  static_cast<void>(none);
  error = failed;
}

TEST(CancelScope, CompletesAWaitingReceiveWithECANCELED) {
  auto ring = make_ring();
  int error = 0;
  ring->run(cancel_a_receive(*ring, unix_pair(*ring), error));
  EXPECT_EQ(error, ECANCELED);
  EXPECT_EQ(ring->in_flight(), 0U);
}

Task<void> start_in_cancelled_scope(Ring& ring, SocketPair pair, int& error,
                                    std::size_t& in_flight) {
  CancelScope scope;
  scope.cancel();
  error = co_await in_scope(scope, recv_error(pair.left));
  in_flight = ring.in_flight();
}

TEST(CancelScope, SubmitsNothingThatStartsAfterTheCancel) {
  auto ring = make_ring();
  int error = 0;
  std::size_t in_flight = 1;
  const std::uint64_t iterations = ring->iterations();
  ring->run(start_in_cancelled_scope(*ring, unix_pair(*ring), error, in_flight));
  EXPECT_EQ(error, ECANCELED);
  EXPECT_EQ(in_flight, 0U);
  EXPECT_EQ(ring->iterations(), iterations) << "nothing had to be waited for";
}

TEST(CancelScope, CancelsChildrenAndThoseCreatedLater) {
  CancelScope parent;
  CancelScope child(&parent);
  CancelScope grandchild(&child);
  CancelScope sibling;
  parent.cancel();
  EXPECT_TRUE(child.cancelled());
  EXPECT_TRUE(grandchild.cancelled());
  EXPECT_FALSE(sibling.cancelled());
  const CancelScope late(&grandchild);
  EXPECT_TRUE(late.cancelled());
}

TEST(CancelScope, LeavesTheParentAloneWhenAChildIsCancelled) {
  CancelScope parent;
  {
    CancelScope child(&parent);
    child.cancel();
  }
  EXPECT_FALSE(parent.cancelled());
  parent.cancel();
}

Task<void> nested_scopes(Ring& ring, SocketPair pair, int& error) {
  CancelScope outer;
  CancelScope inner(&outer);
  auto [failed, none] =
      co_await both(scoped_recv(inner, pair.left), cancel_next_iteration(ring, outer));
  static_cast<void>(none);
  error = failed;
}

TEST(CancelScope, CancelsOperationsOfChildScopes) {
  auto ring = make_ring();
  int error = 0;
  ring->run(nested_scopes(*ring, unix_pair(*ring), error));
  EXPECT_EQ(error, ECANCELED);
}

// The byte is sent about when the receive is cancelled: with either result none may be lost.
struct RaceCounts {
  int delivered = 0;
  int cancelled = 0;
};

Task<void> recv_racing(Socket& socket, Result<std::size_t>& received,
                       std::array<std::byte, 8>& room) {
  received = co_await socket.recv(room);
}

Task<void> send_and_cancel(Ring& ring, Socket& peer, CancelScope& scope, unsigned mode) {
  co_await next_iteration(ring);
  if (mode == 0) scope.cancel();
  const ssize_t sent = ::send(peer.descriptor(), "x", 1, MSG_NOSIGNAL);
  EXPECT_EQ(sent, 1);
  if (mode == 2) co_await next_iteration(ring);
  scope.cancel();
}

Task<void> race(Ring& ring, unsigned mode, RaceCounts& counts) {
  SocketPair pair = tcp_pair(ring);
  std::array<std::byte, 8> room{};
  Result<std::size_t> received = failure(EINVAL);
  {
    CancelScope scope;
    co_await both(scoped(scope, recv_racing(pair.left, received, room)),
                  send_and_cancel(ring, pair.right, scope, mode));
  }
  if (received) {
    EXPECT_EQ(*received, 1U);
    ++counts.delivered;
    co_return;
  }
  EXPECT_EQ(received.error().value, ECANCELED);
  ++counts.cancelled;
  const Result<std::size_t> after = co_await pair.left.recv(room);
  EXPECT_TRUE(after);
  EXPECT_EQ(after.value_or(0), 1U);
}

Task<void> race_many(Ring& ring, RaceCounts& counts) {
  for (unsigned i = 0; i < 150; ++i) co_await race(ring, i % 3, counts);
}

TEST(CancelScope, LosesNoByteWhenCancelAndCompletionRace) {
  auto ring = make_ring();
  RaceCounts counts;
  ring->run(race_many(*ring, counts));
  EXPECT_EQ(counts.delivered + counts.cancelled, 150);
  EXPECT_GT(counts.delivered, 0) << "a receive that completed delivers, cancelled or not";
  EXPECT_GT(counts.cancelled, 0);
}

using CancelScopeDeathTest = ::testing::Test;

TEST(CancelScopeDeathTest, AbortsWhenDestroyedBeforeItsChild) {
  EXPECT_DEATH(
      {
        auto parent = std::make_unique<CancelScope>();
        const CancelScope child(parent.get());
        parent.reset();
      },
      "a cancel scope outlives what waits under it");
}

}  // namespace
}  // namespace sallyport::iouring
