// Rounds over connections of real clients.
#include "gateway/connection/rounds.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "gateway/connection/live_connection.h"
#include "gateway/connection/relay_state.h"
#include "iouring/inbox.h"
#include "iouring/next_iteration.h"
#include "iouring/task_group.h"
#include "tests/gateway/connection/serve_fixture.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using test::TlsClient;

// More than are asked about at once.
constexpr std::size_t kConnections = 40;

class Rounds : public ServeTest {
 protected:
  // A client that has sent something and waits for the answer: one whose peers are looked at.
  void connect_asking() {
    clients_.push_back(connect());
    backends_.push_back(accept_backend());
    std::byte taken{};
    EXPECT_TRUE(clients_.back().send("x"));
    EXPECT_EQ(::recv(backends_.back().get(), &taken, 1, 0), 1);
  }

  std::size_t looked_at_now() {
    std::size_t looks = 0;
    LiveWalk walk(state_);
    while (const LiveConnection* const connection = walk.next()) {
      const RelayState* const relay = connection->relay();
      if (relay != nullptr && relay->beside) looks += relay->beside->size();
    }
    return looks;
  }

  // A round's first look makes the group that it runs in, which stays until the next.
  std::size_t looked_at_once() {
    std::size_t count = 0;
    LiveWalk walk(state_);
    while (const LiveConnection* const connection = walk.next())
      if (connection->relay() != nullptr && connection->relay()->beside) ++count;
    return count;
  }

  iouring::Task<void> watch_a_round() {
    iouring::TaskGroup rounds(*shard_.ring);
    rounds.spawn(make_rounds(state_));
    while (looked_at_once() < kConnections) {
      co_await iouring::next_iteration(*shard_.ring);
      most_at_once_ = std::max(most_at_once_, looked_at_now());
    }
    rounds.cancel_all();
    co_await rounds.join();
    watched_ = true;
  }

  std::vector<TlsClient> clients_;
  std::vector<test::Fd> backends_;
  std::size_t most_at_once_ = 0;
  std::atomic<bool> watched_ = false;
};

// A look asks the kernel four times: 200 in a row held what came meanwhile for 1.4 ms.
TEST_F(Rounds, AskTheKernelAboutAFewConnectionsAtATime) {
  timeouts_.round = std::chrono::milliseconds(1);
  const auto inbox = iouring::Inbox::create(*shard_.ring).value();
  iouring::TaskGroup chores(*shard_.ring);
  serve_clients([&] {
    for (std::size_t i = 0; i < kConnections; ++i) connect_asking();
    inbox->post([&] { chores.spawn(watch_a_round()); });
    test::wait_until("all were looked at", [this] { return watched_.load(); });
    clients_.clear();
    backends_.clear();
  });
  EXPECT_GE(most_at_once_, 1U);
  EXPECT_LE(most_at_once_, 8U);
}

}  // namespace
}  // namespace sallyport::gateway
