// A real Redis whose clients send commands and leave without waiting for the answers, as most do:
// Python, Node.js, Java, Go and redis-cli end without close_notify. A reset to the backend made its
// kernel drop what Redis had not read yet, up to a third of the commands.
#include <chrono>
#include <csignal>
#include <thread>

#include "iouring/sanitizers.h"
#include "tests/e2e/peers/peer_scenario.h"
#include "tests/e2e/peers/redis_server.h"

namespace sallyport::test {
namespace {

constexpr int kClients = iouring::kSanitized ? 200 : 1000;
constexpr int kPaused = 200;  // what the backlog of a stopped Redis takes
constexpr int kCommands = 200;

void end_in_order(TlsClient& tls) {
  tls.close_notify();
  tls.abrupt_close();
}
void hang_up(TlsClient& tls) {
  tls.abrupt_close();
}
void be_killed(TlsClient& tls) {
  tls.reset();
}

class Redis : public PeerScenario {
 protected:
  /// Clients that send so many commands each and leave at once.
  void send_and_leave(const std::string& target, int clients, void (*leave)(TlsClient&)) {
    if (!gateway) {
      discover({target});
      start();
    }
    for (int i = 0; i < clients; ++i) {
      std::string commands;
      for (int j = 0; j < kCommands; ++j) {
        commands += "SET k" + std::to_string(i) + "-" + std::to_string(j) + " v\r\n";
      }
      TlsClient tls = connect();
      ASSERT_TRUE(tls.send(commands));
      leave(tls);
    }
  }
  void expect_all_executed(int clients) const {
    EXPECT_TRUE(eventually([&] { return redis.executed() == clients * kCommands; }))
        << redis.executed() << " of " << clients * kCommands;
  }
  void expect_none_lost(const std::string& target) {
    for (const auto leave : {end_in_order, hang_up, be_killed}) {
      redis.forget_all();
      send_and_leave(target, kClients, leave);
      expect_all_executed(kClients);
    }
  }

  RedisServer redis{dir};
};

TEST_F(Redis, ExecutesEveryCommandOfClientsThatLeaveAtOnce) {
  expect_none_lost(redis.tcp());
}

TEST_F(Redis, ExecutesEveryCommandOfClientsThatLeaveAtOnceOnAUnixSocket) {
  expect_none_lost(redis.socket());
}

// The 3 s are the story: longer than a backend that has answered is waited for.
TEST_F(Redis, ExecutesEveryCommandAfterAPauseOfThreeSeconds) {
  for (const std::string& target : {redis.tcp(), redis.socket()}) {
    redis.forget_all();
    redis.process().signal(SIGSTOP);
    send_and_leave(target, kPaused, hang_up);
    gateway->wait_metric("connections_lingering", {{"route", "orders"}}, kPaused);
    std::this_thread::sleep_for(std::chrono::seconds(3));
    redis.process().signal(SIGCONT);
    expect_all_executed(kPaused);
    finish();
  }
}

}  // namespace
}  // namespace sallyport::test
