#include "iouring/recv.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "iouring/both.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

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

}  // namespace
}  // namespace sallyport::iouring
