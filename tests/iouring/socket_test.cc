#include "iouring/socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "iouring/both.h"
#include "iouring/connect.h"
#include "iouring/deadline.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

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

Task<void> send_then_end(Socket& socket, std::string_view text) {
  const Result<> sent = co_await socket.send_all(as_bytes(text));
  EXPECT_TRUE(sent);
  const Result<> shut = co_await socket.shutdown_write();
  EXPECT_TRUE(shut);
}

Task<void> transfer(SocketPair pair, std::string_view text, std::string& got) {
  auto [none, received] = co_await both(send_then_end(pair.left, text), recv_all(pair.right));
  static_cast<void>(none);
  got = std::move(received);
}

TEST(Socket, SendsAllOfMoreThanTheKernelBuffers) {
  auto ring = make_ring();
  std::string text(8 << 20, '\0');
  std::iota(text.begin(), text.end(), 0);
  std::string got;
  ring->run(transfer(tcp_pair(*ring), text, got));
  EXPECT_TRUE(got == text);
}

Task<void> send_pieces(Socket& socket, std::span<iovec> pieces) {
  const Result<> sent = co_await socket.send_all(pieces);
  EXPECT_TRUE(sent);
  const Result<> shut = co_await socket.shutdown_write();
  EXPECT_TRUE(shut);
}

Task<void> transfer_pieces(SocketPair pair, std::span<iovec> pieces, std::string& got) {
  auto [none, received] = co_await both(send_pieces(pair.left, pieces), recv_all(pair.right));
  static_cast<void>(none);
  got = std::move(received);
}

TEST(Socket, SendsAllPiecesInOrderAlsoEmptyOnes) {
  auto ring = make_ring();
  std::vector<std::string> texts;
  std::string expected;
  for (int i = 0; i < 300; ++i) {
    texts.emplace_back(i % 7 == 0 ? 0 : 9000 + i, static_cast<char>('a' + i % 26));
    expected += texts.back();
  }
  std::vector<iovec> pieces;
  for (std::string& text : texts) pieces.push_back({text.data(), text.size()});
  std::string got;
  ring->run(transfer_pieces(tcp_pair(*ring), pieces, got));
  EXPECT_TRUE(got == expected);
}

Task<void> end_of_file(SocketPair pair, std::size_t& last) {
  pair.left = Socket();
  std::array<std::byte, 8> room{};
  const Result<std::size_t> received = co_await pair.right.recv(room);
  EXPECT_TRUE(received);
  last = received.value_or(99);
}

TEST(Socket, ReportsEndOfFileAsZero) {
  auto ring = make_ring();
  std::size_t last = 99;
  ring->run(end_of_file(tcp_pair(*ring), last));
  EXPECT_EQ(last, 0U);
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

class DescriptorLimit {
 public:
  // Lets the process open `more` descriptors.
  explicit DescriptorLimit(unsigned more) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const FileDescriptor lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    struct rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest.get()) + more;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  struct rlimit before_ = {};
};

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

Task<void> see_more(SocketPair pair, std::vector<bool>& more) {
  const Result<> sent = co_await pair.left.send_all(as_bytes("abcdef"));
  EXPECT_TRUE(sent);
  std::array<std::byte, 4> room{};
  for (int i = 0; i < 2; ++i) {
    const Result<std::size_t> received = co_await pair.right.recv(room);
    EXPECT_TRUE(received);
    more.push_back(pair.right.more_waiting());
  }
  // The next receive polls first and still gets what arrives.
  const Result<> again = co_await pair.left.send_all(as_bytes("gh"));
  EXPECT_TRUE(again);
  const std::string got = co_await recv_exactly(pair.right, 2);
  EXPECT_EQ(got, "gh");
}

TEST(Socket, TellsWhetherMoreIsWaiting) {
  auto ring = make_ring();
  std::vector<bool> more;
  ring->run(see_more(tcp_pair(*ring), more));
  EXPECT_EQ(more, (std::vector<bool>{true, false}));
}

Task<void> try_then_wait(SocketPair pair, std::vector<std::string>& outcomes) {
  std::array<std::byte, 8> room{};
  const Result<std::size_t> nothing = co_await pair.right.recv(room, MSG_DONTWAIT);
  outcomes.emplace_back(nothing ? "bytes" : nothing.error().name());
  auto [ready, sent] = co_await both(
      [](Socket& socket) -> Task<Result<>> {
        const Result<> done = co_await socket.ready(POLLIN);
        co_return done;
      }(pair.right),
      send_then_end(pair.left, "four"));
  static_cast<void>(sent);
  outcomes.emplace_back(ready ? "ready" : ready.error().name());
  const Result<std::size_t> bytes = co_await pair.right.recv(room, MSG_DONTWAIT);
  outcomes.push_back(bytes ? std::to_string(*bytes) : bytes.error().name());
}

TEST(Socket, ReceivesWithoutWaitingAndWaitsWithoutABuffer) {
  auto ring = make_ring();
  std::vector<std::string> outcomes;
  ring->run(try_then_wait(tcp_pair(*ring), outcomes));
  EXPECT_EQ(outcomes, (std::vector<std::string>{"EAGAIN", "ready", "4"}));
}

Task<void> change_options(Socket& socket, bool table) {
  if (table) {
    const Result<> moved = co_await socket.to_table();
    EXPECT_TRUE(moved);
    EXPECT_TRUE(socket.in_table());
  }
  CancelScope scope(co_await current_scope());
  scope.cancel();
  const int watermark = 7;
  const Result<> set = co_await in_scope(scope, [](Socket& s, const int& value) -> Task<Result<>> {
    const Result<> done =
        co_await s.set_option(SOL_SOCKET, SO_RCVLOWAT, std::as_bytes(std::span(&value, 1)));
    co_return done;
  }(socket, watermark));
  EXPECT_TRUE(set) << set.error().name();
  const Result<> bad =
      co_await socket.set_option(SOL_SOCKET, -1, std::as_bytes(std::span(&watermark, 1)));
  EXPECT_FALSE(bad);
  const Result<FileDescriptor> installed = co_await socket.install();
  EXPECT_TRUE(installed);
  int value = 0;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(installed->get(), SOL_SOCKET, SO_RCVLOWAT, &value, &size), 0);
  EXPECT_EQ(value, 7);
}

TEST(Socket, ChangesOptionsAlsoInTheTableAndInACancelledScope) {
  for (const bool table : {false, true}) {
    if (table && !has_tables()) continue;
    auto ring = make_ring({.registered_descriptors = 4});
    SocketPair pair = tcp_pair(*ring);
    ring->run(change_options(pair.left, table));
  }
}

Task<void> reset_and_clear_the_error(SocketPair pair, bool table,
                                     std::vector<std::string>& outcomes) {
  if (table) {
    const Result<> moved = co_await pair.left.to_table();
    EXPECT_TRUE(moved);
  }
  pair.right.reset();
  const Result<> hung_up = co_await pair.left.ready(POLLIN);
  outcomes.emplace_back(hung_up ? "ready" : hung_up.error().name());
  const Result<> cleared = co_await pair.left.clear_error();
  outcomes.emplace_back(cleared ? "cleared" : cleared.error().name());
  std::array<std::byte, 8> room{};
  const Result<std::size_t> after = co_await pair.left.recv(room);
  outcomes.push_back(after ? std::to_string(*after) : after.error().name());
}

TEST(Socket, ClearsThePendingErrorAlsoInTheTable) {
  for (const bool table : {false, true}) {
    if (table && !has_tables()) continue;
    auto ring = make_ring({.registered_descriptors = 4});
    std::vector<std::string> outcomes;
    ring->run(reset_and_clear_the_error(tcp_pair(*ring), table, outcomes));
    EXPECT_EQ(outcomes, (std::vector<std::string>{"ready", "cleared", "0"}));
  }
}

Task<void> with_control_data(SocketPair pair) {
  // A descriptor travels beside the bytes (unix(7), SCM_RIGHTS).
  const FileDescriptor sent_along(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::array<char, 3> text{'a', 'b', 'c'};
  iovec piece{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int number = sent_along.get();
  std::memcpy(CMSG_DATA(header), &number, sizeof number);
  const Result<std::size_t> sent = co_await pair.left.sendmsg(message);
  EXPECT_EQ(sent.value_or(0), 3U);

  std::array<char, 8> got{};
  iovec room{got.data(), got.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> received_control{};
  msghdr received = {};
  received.msg_iov = &room;
  received.msg_iovlen = 1;
  received.msg_control = received_control.data();
  received.msg_controllen = received_control.size();
  const Result<std::size_t> size = co_await pair.right.recvmsg(received);
  EXPECT_EQ(size.value_or(0), 3U);
  const cmsghdr* came = CMSG_FIRSTHDR(&received);
  EXPECT_NE(came, nullptr);
  if (came == nullptr) co_return;
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(came), sizeof descriptor);
  const FileDescriptor owned(descriptor);
  EXPECT_TRUE(owned);
}

TEST(Socket, CarriesControlData) {
  auto ring = make_ring();
  ring->run(with_control_data(unix_pair(*ring)));
}

Task<void> send_to_nobody(SocketPair pair, int& error) {
  pair.right.reset();
  Result<std::size_t> sent = co_await pair.left.send(as_bytes("x"));
  if (sent) sent = co_await pair.left.send(as_bytes("x"));
  EXPECT_FALSE(sent);
  if (!sent) error = sent.error().value;
}

TEST(Socket, RaisesNoSignalWhenThePeerIsClosed) {
  auto ring = make_ring();
  int error = 0;
  ring->run(send_to_nobody(unix_pair(*ring), error));
  EXPECT_EQ(error, EPIPE);
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

// ---- cancelled sends: the socket buffer is full, so that the send waits

Task<void> send_too_much(Socket& socket, Result<>& sent) {
  const std::string text(32 << 20, 'x');
  sent = co_await socket.send_all(as_bytes(text));
}

Task<void> scoped_send(CancelScope& scope, Socket& socket, Result<>& sent) {
  co_await in_scope(scope, send_too_much(socket, sent));
}

Task<void> cancel_later(Ring& ring, CancelScope& scope) {
  for (int i = 0; i < 5; ++i) co_await next_iteration(ring);
  scope.cancel();
}

Task<void> cancel_a_send(Ring& ring, SocketPair pair, Result<>& sent) {
  CancelScope scope;
  co_await both(scoped_send(scope, pair.left, sent), cancel_later(ring, scope));
}

TEST(Socket, StopsSendingWhenCancelled) {
  auto ring = make_ring();
  Result<> sent;
  ring->run(cancel_a_send(*ring, tcp_pair(*ring), sent));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().value, ECANCELED);
}

// ---- connect

Task<void> connect_to(Ring& ring, SocketAddress address, int& error) {
  const Result<Socket> socket = co_await connect(ring, address);
  error = socket ? 0 : socket.error().value;
}

TEST(Connect, ReportsARefusal) {
  auto ring = make_ring();
  // Bound and not listening: the connection is refused, and no other process can take the port.
  const FileDescriptor bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(bound.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  int error = 0;
  ring->run(connect_to(*ring, SocketAddress(reinterpret_cast<sockaddr*>(&address), size), error));
  EXPECT_EQ(error, ECONNREFUSED);
}

TEST(Connect, ReportsAMissingUnixSocket) {
  auto ring = make_ring();
  int error = 0;
  ring->run(connect_to(*ring, *SocketAddress::parse("unix:/nowhere/at/all"), error));
  EXPECT_EQ(error, ENOENT);
}

TEST(Connect, ReportsDescriptorExhaustion) {
  auto ring = make_ring();
  int error = 0;
  const DescriptorLimit none(0);
  ring->run(connect_to(*ring, *SocketAddress::parse("127.0.0.1:1"), error));
  EXPECT_EQ(error, EMFILE);
}

Task<void> scoped_connect(Ring& ring, CancelScope& scope, SocketAddress address, int& error) {
  co_await in_scope(scope, connect_to(ring, address, error));
}

Task<void> cancel_a_connect(Ring& ring, SocketAddress address, int& error) {
  CancelScope scope;
  co_await both(scoped_connect(ring, scope, address, error), cancel_later(ring, scope));
}

TEST(Connect, IsCancelledWithoutLosingADescriptor) {
  auto ring = make_ring();
  // A full backlog drops the SYN, so that the connect waits.
  const FileDescriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  ASSERT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const FileDescriptor first(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(first.get(), reinterpret_cast<sockaddr*>(&address), size), 0);

  const std::size_t before = open_descriptors();
  int error = 0;
  ring->run(
      cancel_a_connect(*ring, SocketAddress(reinterpret_cast<sockaddr*>(&address), size), error));
  EXPECT_EQ(error, ECANCELED);
  EXPECT_EQ(open_descriptors(), before);
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
