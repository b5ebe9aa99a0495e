#include "iouring/descriptor_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "tests/iouring/descriptors.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

Task<void> half_close(Ring& ring, SocketPair pair) {
  const std::size_t before = open_descriptors();
  const Result<> moved = co_await pair.left.to_table();
  EXPECT_TRUE(moved);
  EXPECT_TRUE(pair.left.in_table());
  EXPECT_EQ(pair.left.descriptor(), -1);
  EXPECT_EQ(ring.table_used(), 1U);
  EXPECT_EQ(open_descriptors(), before - 1) << "the table does not count as a descriptor";
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
  EXPECT_EQ(open_descriptors(), before - 1) << "nothing stays installed";
}

TEST(Socket, HalfClosesInTheTableAndStillReceives) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  auto ring = make_ring({.registered_descriptors = 8});
  ring->run(half_close(*ring, tcp_pair(*ring)));
  EXPECT_EQ(ring->table_used(), 0U);
}

Task<void> half_close_without_descriptors(SocketPair pair) {
  const Result<> moved = co_await pair.left.to_table();
  EXPECT_TRUE(moved);
  FileDescriptor taken(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const DescriptorLimit none(0);
  const Result<> shut = co_await pair.left.shutdown_write();
  EXPECT_TRUE(shut);
  const std::string got = co_await recv_all(pair.right);
  EXPECT_EQ(got, "");
}

TEST(Socket, HalfClosesWithNoDescriptorLeftToInstall) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  auto ring = make_ring({.registered_descriptors = 8});
  ring->run(half_close_without_descriptors(tcp_pair(*ring)));
}

Task<void> fill_table(Ring& ring, SocketPair first, SocketPair second) {
  const Result<> moved = co_await first.left.to_table();
  EXPECT_TRUE(moved);
  const Result<> full = co_await second.left.to_table();
  EXPECT_FALSE(full);
  if (!full) EXPECT_EQ(full.error().value, ENFILE);
  EXPECT_FALSE(second.left.in_table());
  const Result<> sent = co_await second.left.send_all(as_bytes("still here"));
  EXPECT_TRUE(sent);
  const std::string got = co_await recv_exactly(second.right, 10);
  EXPECT_EQ(got, "still here");

  first.left = Socket();
  EXPECT_EQ(ring.table_used(), 0U);
  const std::string end = co_await recv_all(first.right);
  EXPECT_EQ(end, "");
  const Result<> now = co_await second.left.to_table();
  EXPECT_TRUE(now);
  EXPECT_TRUE(second.left.in_table());
}

TEST(Socket, StaysOrdinaryWhenTheTableIsFull) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  auto ring = make_ring({.registered_descriptors = 1});
  ring->run(fill_table(*ring, tcp_pair(*ring), tcp_pair(*ring)));
  EXPECT_EQ(ring->table_used(), 0U);
}

Task<void> stay_without_table(SocketPair pair) {
  const Result<> moved = co_await pair.left.to_table();
  EXPECT_TRUE(moved);
  EXPECT_FALSE(pair.left.in_table());
}

TEST(Socket, StaysOrdinaryWithoutATable) {
  auto ring = make_ring();
  ring->run(stay_without_table(tcp_pair(*ring)));
}

Task<void> bring_back(SocketPair pair, bool table) {
  if (table) {
    const Result<> moved = co_await pair.left.to_table();
    EXPECT_TRUE(moved);
  }
  Result<FileDescriptor> installed = co_await pair.left.install();
  EXPECT_TRUE(installed);
  if (!installed) co_return;
  EXPECT_NE(::fcntl(installed->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(::send(installed->get(), "by hand", 7, MSG_NOSIGNAL), 7);
  const std::string got = co_await recv_exactly(pair.right, 7);
  EXPECT_EQ(got, "by hand");
  EXPECT_EQ(pair.left.in_table(), table);
}

TEST(Socket, InstallsADescriptorFromTheTable) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  auto ring = make_ring({.registered_descriptors = 2});
  ring->run(bring_back(tcp_pair(*ring), true));
  ring->run(bring_back(tcp_pair(*ring), false));
}

Task<void> close_by_destructor(Socket right, std::string& got) {
  got = co_await recv_all(right);
}

Task<void> drop_from_table(SocketPair pair, std::string& got) {
  const Result<> moved = co_await pair.left.to_table();
  EXPECT_TRUE(moved);
  pair.left = Socket();
  co_await close_by_destructor(std::move(pair.right), got);
}

TEST(Socket, DestructorClosesASlotWithoutWaiting) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  auto ring = make_ring({.registered_descriptors = 2});
  std::string got = "not ended";
  ring->run(drop_from_table(tcp_pair(*ring), got));
  EXPECT_EQ(got, "");
  EXPECT_EQ(ring->table_used(), 0U);
}

Task<void> keep_slot_until_end(Ring& ring) {
  for (int i = 0; i < 100; ++i) {  // far more than there are slots
    SocketPair pair = tcp_pair(ring);
    const Result<> moved = co_await pair.left.to_table();
    EXPECT_TRUE(moved);
    EXPECT_TRUE(pair.left.in_table());
  }
}

TEST(Socket, SlotsAreReused) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  auto ring = make_ring({.registered_descriptors = 2});
  const std::size_t before = open_descriptors();
  ring->run(keep_slot_until_end(*ring));
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace sallyport::iouring
