#include "iouring/socket_option.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <vector>

#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

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

}  // namespace
}  // namespace sallyport::iouring
