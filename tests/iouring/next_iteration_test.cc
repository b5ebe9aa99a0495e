#include "iouring/next_iteration.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "iouring/both.h"
#include "iouring/cancel.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

Task<void> wait_for_the_next(Ring& ring) {
  const std::uint64_t before = ring.iterations();
  co_await next_iteration(ring);
  EXPECT_EQ(ring.iterations(), before + 1);
  co_await next_iteration(ring);  // from the ready phase
  EXPECT_EQ(ring.iterations(), before + 2);
}

TEST(NextIteration, ResumesInTheNextIteration) {
  auto ring = make_ring();
  ring->run(wait_for_the_next(*ring));
}

Task<void> receive(Socket& socket, std::string& log) {
  const std::string received = co_await recv_exactly(socket, 1);
  EXPECT_EQ(received, "x");
  log += 'r';
}

Task<void> send_and_give_way(Ring& ring, SocketPair& pair, std::string& log) {
  co_await next_iteration(ring);  // the receive is submitted
  EXPECT_EQ(::send(pair.right.descriptor(), "x", 1, 0), 1);
  while (log.empty() && ring.iterations() < 1'000) co_await next_iteration(ring);
  log += 'n';
}

Task<void> give_way_to_a_receive(Ring& ring, SocketPair& pair, std::string& log) {
  co_await both(receive(pair.left, log), send_and_give_way(ring, pair, log));
}

TEST(NextIteration, LetsTheLoopReceiveMeanwhile) {
  auto ring = make_ring();
  SocketPair pair = unix_pair(*ring);
  std::string log;
  ring->run(give_way_to_a_receive(*ring, pair, log));
  EXPECT_EQ(log, "rn");
}

Task<void> give_way_in_a_cancelled_scope(Ring& ring, bool& resumed) {
  CancelScope* const scope = co_await current_scope();
  scope->cancel();
  co_await next_iteration(ring);
  resumed = true;
}

Task<void> in_a_scope_of_its_own(Ring& ring, bool& resumed) {
  CancelScope scope;
  co_await in_scope(scope, give_way_in_a_cancelled_scope(ring, resumed));
}

TEST(NextIteration, ResumesInACancelledScope) {
  auto ring = make_ring();
  bool resumed = false;
  ring->run(in_a_scope_of_its_own(*ring, resumed));
  EXPECT_TRUE(resumed);
}

}  // namespace
}  // namespace sallyport::iouring
