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

class RedisOverTls : public PeerScenario {
 protected:
  static Finished cli(const std::string& socket, const std::string& commands,
                      std::vector<std::string> more = {}) {
    std::vector<std::string> argv{"redis-cli", "-s", socket};
    argv.insert(argv.end(), more.begin(), more.end());
    return run(argv, commands);
  }
  RedisServer redis{dir, &root};
};

// An application of this machine speaks plaintext on a unix socket, and Redis gets mutual TLS.
TEST_F(RedisOverTls, ServesApplicationsOfThisMachine) {
  discover({redis.tcp()});
  const std::string socket = dir / "cache.sock";
  start({"--egress", "unix:" + socket + "=orders", "--policy",
         dir.write("policy.json", R"({"routes": {"orders": {"egress": true,
                    "backend-tls": {"verify": ["dns:redis.example.org"]}}}})")});
  std::string commands;
  for (int i = 0; i < 20'000; ++i) {
    const std::string number = std::to_string(i);
    commands += "SET key" + number + " " + std::string(200, 'v') + number + "\r\n";
  }
  const Finished piped = cli(socket, commands, {"--pipe"});
  EXPECT_NE(piped.out.find("errors: 0, replies: 20000"), std::string::npos)
      << piped.out << piped.err;
  EXPECT_EQ(redis.executed(), 20'000);
  EXPECT_EQ(cli(socket, "GET key19999\n").out, std::string(200, 'v') + "19999\n");
  // Redis ends its side without close_notify, also where the client has ended before.
  gateway->wait_log({{"direction", "egress"},
                     {"reason", "backend_truncated"},
                     {"backend_identity", "dns:redis.example.org"}});
}

}  // namespace
}  // namespace sallyport::test
