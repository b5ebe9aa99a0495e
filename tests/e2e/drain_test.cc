// SIGTERM: no new connections, those that are there end in order, exit status 0.
#include <chrono>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Drain : public Scenario {
 protected:
  // A second signal counts from a second after the first one on.
  void signal_until_ended() const {
    wait_until("a second signal ends it", [this] {
      if (gateway->process().running()) gateway->signal(SIGTERM);
      return !gateway->process().running();
    });
  }
};

TEST_F(Drain, EndsConnectionsWithCloseNotifyAndExitsWithZero) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Backend backend(echo());
    start_for(backend, {"--drain-timeout", "1h"});
    TlsClient tls = connect();
    ASSERT_TRUE(tls.echo("hello"));
    gateway->signal(signal);
    EXPECT_EQ(tls.receive_all(), "");
    EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
    tls.close_notify();
    EXPECT_EQ(gateway->ended(0), "");
    EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "drain");
    gateway.reset();
  }
}

TEST_F(Drain, ExitsWithZeroWithoutConnections) {
  Backend backend(echo());
  start_for(backend);
  gateway->signal(SIGTERM);
  EXPECT_EQ(gateway->ended(0), "");
  gateway.reset();
}

TEST_F(Drain, LetsATransferEndByItself) {
  // More than the sockets on the way can hold, so that it is still going on.
  constexpr std::size_t kBytes = 32U << 20;
  Backend backend(source(kBytes, 11));
  start_for(backend, {"--drain-timeout", "1h"});
  TlsClient tls = connect();
  std::string data = tls.receive(100'000);
  gateway->signal(SIGTERM);
  data += tls.receive_all();
  EXPECT_EQ(data.size(), kBytes);
  EXPECT_EQ(sha256_hex(data), sha256_hex(pseudo_random(kBytes, 11)));
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  tls.close_notify();
  EXPECT_EQ(gateway->ended(0), "");
  gateway.reset();
}

TEST_F(Drain, DoesNotWaitLongerThanItsTimeout) {
  Backend backend(source(16U << 20, 12));
  start_for(backend, {"--drain-timeout", "500ms"});
  ClientOptions options = as(client);
  options.socket_buffer = 4096;
  TlsClient stuck = connect(options);
  ASSERT_EQ(stuck.receive(1000).size(), 1000U);
  gateway->signal(SIGTERM);
  EXPECT_EQ(gateway->ended(0), "");
  gateway.reset();
}

// In the middle of a response close_notify would make it look complete.
TEST_F(Drain, EndsABusyConnectionAtItsTimeoutWithoutCloseNotify) {
  constexpr std::size_t kBytes = 32U << 20;  // more than the sockets on the way can hold
  Backend backend(source(kBytes, 15));
  start_for(backend, {"--drain-timeout", "1s"});
  TlsClient busy = connect();
  std::string data = busy.receive(1000);
  gateway->signal(SIGTERM);
  gateway->wait_log({{"reason", "drain"}});
  data += busy.receive_all();
  EXPECT_EQ(busy.end(), TlsEnd::kTruncated);
  EXPECT_EQ(data, pseudo_random(kBytes, 15).substr(0, data.size()));
  EXPECT_EQ(gateway->ended(0), "");
  gateway.reset();
}

// All at once would make a fleet reconnect at once.
TEST_F(Drain, SpreadsTheEndsOverItsTimeout) {
  constexpr int kClients = 12;
  Backend backend(echo());
  start_for(backend, {"--drain-timeout", "8s", "--shards", "1"});
  std::vector<TlsClient> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(connect());
    ASSERT_TRUE(clients.back().echo("hello"));
  }
  gateway->signal(SIGTERM);
  std::vector<std::chrono::steady_clock::time_point> ends;
  for (TlsClient& each : clients) {
    each.receive_all();
    ends.push_back(std::chrono::steady_clock::now());
    EXPECT_EQ(each.end(), TlsEnd::kCloseNotify);
    each.close_notify();
  }
  EXPECT_GT(ends.back() - ends.front(), std::chrono::seconds(3)) << "of 6, less what waited";
  EXPECT_EQ(gateway->ended(0), "");
  gateway.reset();
}

TEST_F(Drain, EndsHandshakesUnderWay) {
  Backend backend(echo());
  start_for(backend, {"--drain-timeout", "300ms"});
  const Fd half = connect_to(gateway->address());
  send_all(half, std::string("\x16\x03\x01\x01\x00\x01", 6));
  gateway->wait_metric("connections", {}, 1);
  gateway->signal(SIGTERM);
  std::string answer;
  receive_all(half, answer);
  EXPECT_EQ(gateway->ended(0), "");
  EXPECT_EQ(gateway->wait_log({{"client", local_address(half).to_string()}}).at("reason"), "drain");
  gateway.reset();
}

TEST_F(Drain, ASecondSignalEndsAtOnce) {
  Backend backend(source(16U << 20, 13));
  start_for(backend, {"--drain-timeout", "1h", "--drain-delay", "1h"});
  ClientOptions options = as(client);
  options.socket_buffer = 4096;
  TlsClient stuck = connect(options);
  ASSERT_EQ(stuck.receive(1000).size(), 1000U);
  gateway->signal(SIGTERM);
  wait_until("not ready", [&] { return !gateway->ready(); });
  signal_until_ended();
  EXPECT_EQ(sanitizer_report(gateway->process().err()), "");
  gateway.reset();
}

TEST_F(Drain, DelayAcceptsWhileNotReady) {
  Backend backend(echo());
  start_for(backend, {"--drain-delay", "1h"});
  gateway->signal(SIGTERM);
  wait_until("not ready", [&] { return gateway->get("/readyz").status == 503; });
  EXPECT_EQ(gateway->get("/healthz").status, 200);
  EXPECT_TRUE(served());
  signal_until_ended();
  gateway.reset();
}

TEST_F(Drain, AcceptsNoConnectionOnceTheListenersAreClosed) {
  Backend backend(source(16U << 20, 14));
  start_for(backend, {"--drain-timeout", "1h"});
  ClientOptions options = as(client);
  options.socket_buffer = 4096;
  TlsClient busy = connect(options);
  ASSERT_EQ(busy.receive(1000).size(), 1000U);
  gateway->signal(SIGTERM);
  wait_until("connects are refused", [&] {
    try {
      connect_to(gateway->address());
      return false;
    } catch (const TestFailure&) {
      return true;
    }
  });
  busy.abrupt_close();
  EXPECT_EQ(gateway->ended(0), "");
  gateway.reset();
}

}  // namespace
}  // namespace sallyport::test
