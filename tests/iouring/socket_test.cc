#include "iouring/socket.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <coroutine>
#include <string>

#include "iouring/both.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

TEST(Socket, IsSmall) {
  EXPECT_EQ(sizeof(Socket), 16U);
  EXPECT_LE(sizeof(Recv), 88U);
  EXPECT_LE(sizeof(RecvLease), 128U);
  EXPECT_LE(sizeof(SendAll), 88U);
}

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

Task<void> see_reset(SocketPair pair, bool table, int& error) {
  if (table) {
    const Result<> moved = co_await pair.left.to_table();
    EXPECT_TRUE(moved);
    EXPECT_TRUE(pair.left.in_table());
  }
  pair.left.reset();
  EXPECT_FALSE(pair.left);
  std::array<std::byte, 8> room{};
  const Result<std::size_t> received = co_await pair.right.recv(room);
  EXPECT_FALSE(received);
  if (!received) error = received.error().value;
}

TEST(Socket, ResetReachesThePeerAsAReset) {
  auto ring = make_ring();
  int error = 0;
  ring->run(see_reset(tcp_pair(*ring), false, error));
  EXPECT_EQ(error, ECONNRESET);
}

TEST(Socket, ResetFromTheTableReachesThePeerAsAReset) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  auto ring = make_ring({.registered_descriptors = 8});
  int error = 0;
  ring->run(see_reset(tcp_pair(*ring), true, error));
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(ring->table_used(), 0U);
}

Task<void> on_nothing(Ring& ring) {
  Socket none;
  std::array<std::byte, 1> room{};
  const Result<std::size_t> received = co_await none.recv(room);
  EXPECT_FALSE(received);
  if (!received) EXPECT_EQ(received.error().value, EBADF);
  Socket also_none(ring, FileDescriptor());
  const Result<> shut = co_await also_none.shutdown_write();
  EXPECT_FALSE(shut);
}

TEST(Socket, RefusesOperationsWhenEmpty) {
  auto ring = make_ring();
  ring->run(on_nothing(*ring));
}

// ---- broken invariants

Task<void> recv_forever(Socket& socket) {
  std::array<std::byte, 1> room{};
  const Result<std::size_t> received = co_await socket.recv(room);
  static_cast<void>(received);
}

Task<void> drop(Ring& ring, Socket& socket) {
  co_await next_iteration(ring);
  socket = Socket();
}

Task<void> close_under_receive(Ring& ring) {
  SocketPair pair = unix_pair(ring);
  co_await both(recv_forever(pair.left), drop(ring, pair.left));
}

using SocketDeathTest = ::testing::Test;

TEST(SocketDeathTest, AbortsWhenClosedWithAnOperationInFlight) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        ring->run(close_under_receive(*ring));
      },
      "a socket is closed when no operation is in flight.*found 1, expected 0");
}

Task<void> destroy_suspended(Ring& ring) {
  SocketPair pair = unix_pair(ring);
  struct Ignore final : TaskDone {
    std::coroutine_handle<> task_done() noexcept override { return std::noop_coroutine(); }
  } ignore;
  {
    Task<void> receiving = recv_forever(pair.left);
    receiving.start(nullptr, ignore);
  }
  co_return;
}

TEST(SocketDeathTest, AbortsWhenAFrameIsDestroyedWhileTheKernelUsesItsBuffer) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        ring->run(destroy_suspended(*ring));
      },
      "an operation lives until its completion has come");
}

}  // namespace
}  // namespace sallyport::iouring
