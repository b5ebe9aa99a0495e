#include "iouring/socket.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <array>
#include <string>

#include "iouring/both.h"
#include "iouring/buffer_ring.h"
#include "iouring/deadline.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

Task<void> send_and_receive(SocketPair pair, std::string& got) {
  const Result<> sent = co_await pair.left.send_all(as_bytes("hello"));
  EXPECT_TRUE(sent);
  got = co_await recv_exactly(pair.right, 5);
}

TEST(Socket, DeliversWhatThePeerSent) {
  auto ring = make_ring();
  std::string got;
  ring->run(send_and_receive(tcp_pair(*ring), got));
  EXPECT_EQ(got, "hello");
}

Task<void> half_close(SocketPair pair) {
  const Result<> moved = co_await pair.left.to_table();
  EXPECT_TRUE(moved);
  EXPECT_TRUE(pair.left.in_table());
  const Result<> sent = co_await pair.left.send_all(as_bytes("last words"));
  EXPECT_TRUE(sent);
  const Result<> shut = co_await pair.left.shutdown_write();
  EXPECT_TRUE(shut);
  const std::string got = co_await recv_all(pair.right);
  EXPECT_EQ(got, "last words");
  const Result<> answered = co_await pair.right.send_all(as_bytes("answer"));
  EXPECT_TRUE(answered);
  const std::string answer = co_await recv_exactly(pair.left, 6);
  EXPECT_EQ(answer, "answer");
}

TEST(Socket, HalfClosesInTheTableAndStillReceives) {
  auto ring = make_ring({.registered_descriptors = 8});
  ring->run(half_close(tcp_pair(*ring)));
  EXPECT_EQ(ring->table_used(), 0U);
}

}  // namespace
}  // namespace sallyport::iouring
