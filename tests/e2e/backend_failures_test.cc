// Backends that refuse, stall, reset mid-stream or vanish: the client learns it, others do not.
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class BackendFailure : public Scenario {
 protected:
  /// What the other side's kernel has not acknowledged yet.
  static int unsent_bytes(const Fd& socket) {
    int bytes = 0;
    ::ioctl(socket.get(), SIOCOUTQ, &bytes);
    return bytes;
  }
};

TEST_F(BackendFailure, ARefusalGoesOnToTheNextEndpoint) {
  const RefusingAddress refusing;
  Backend backend(echo());
  discover({refusing.address(), backend.address()});
  start();
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(served()) << i;
  EXPECT_EQ(backend.accepted(), 8);
}

// An endpoint was missing, and only /routes told. The name is reserved (RFC 6761).
TEST_F(BackendFailure, ANameThatDoesNotResolveIsTold) {
  Backend backend(echo());
  discover({backend.address(), "nowhere.invalid:80"});
  start();
  gateway->wait_err({"\"warning\"", "does not resolve", "\"nowhere.invalid\"", "\"error\""});
  EXPECT_TRUE(served());
}

// A black hole beside a good endpoint once cost half of the connections 1.5 s each.
TEST_F(BackendFailure, OneSilentEndpointOfTwoIsFoundOnceAndThenAvoided) {
  const SilentAddress silent;
  Backend backend(echo());
  discover({silent.address(), backend.address()});
  start({"--connect-timeout", "60s"});
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(served()) << i;
  const Metrics::Labels of_silent{{"route", "orders"}, {"backend", silent.address()}};
  const Metrics metrics = gateway->metrics();
  const double failures = metrics.sum("backend_connect_failures_total", of_silent);
  EXPECT_GE(failures, 1);
  EXPECT_LE(failures, 4) << "once, and when it was tried again";
  EXPECT_EQ(metrics.sum("backend_failovers_total", {{"route", "orders"}}), failures);
  EXPECT_EQ(metrics.sum("backend_connect_failures_total", {{"backend", backend.address()}}), 0);
  EXPECT_EQ(metrics.sum("backend_up", {{"backend", backend.address()}}), 1);
  gateway->wait_err({"connects to an endpoint fail", silent.address(), "ETIMEDOUT"});
}

TEST_F(BackendFailure, BackendUpFollowsWhatConnectsFind) {
  auto backend = std::make_unique<Backend>(echo());
  const std::string address = backend->address();
  const Metrics::Labels labels{{"route", "orders"}, {"backend", address}};
  start_for(*backend);
  EXPECT_EQ(gateway->metrics().sum("backend_up", labels), 1);
  EXPECT_TRUE(gateway->metrics().has("backend_connect_failures_total", labels)) << "from the start";
  EXPECT_TRUE(gateway->metrics().has("backend_failovers_total", {{"route", "orders"}}));
  backend.reset();
  EXPECT_TRUE(eventually([&] {
    expect_ended(as(client), "backend_refused", kInternalError);
    return gateway->metrics().sum("backend_up", labels) == 0;
  }));
  gateway->wait_err({"connects to an endpoint fail", address, "ECONNREFUSED"});
  backend = std::make_unique<Backend>(echo(), address);
  EXPECT_TRUE(eventually([&] { return bool{served()}; }));
  EXPECT_EQ(gateway->metrics().sum("backend_up", labels), 1);
  gateway->wait_err({"connects to an endpoint succeed again", address});
}

TEST_F(BackendFailure, ASilentEndpointDoesNotHoldUpOtherClients) {
  const SilentAddress silent;
  Backend backend(echo());
  discover(
      {{{silent.address()}, {{"route", "silent"}}}, {{backend.address()}, {{"route", "orders"}}}});
  start({"--policy", dir.write("policy.json", R"({"routes": {
    "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/**"]},
    "silent": {"sni": ["silent.example.org"], "allow": ["spiffe://example.org/**"]}}})"),
         "--connect-timeout", "2s"});
  ClientOptions to_silent = as(client);
  to_silent.sni = "silent.example.org";
  TlsClient waiting = connect(to_silent);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(served()) << i;
  waiting.receive(1);
  EXPECT_EQ(waiting.alert().value_or(-1), kInternalError);
  EXPECT_EQ(gateway->wait_log({{"route", "silent"}}).at("reason"), "backend_timeout");
}

TEST_F(BackendFailure, AClientThatLeavesWhileTheBackendIsDialledIsNoticed) {
  const SilentAddress silent;
  discover({silent.address()});
  // Far beyond a test's patience: only the client's going can end it.
  start({"--connect-timeout", "1h"});
  std::string from;
  {
    TlsClient tls = connect();
    ASSERT_TRUE(tls.connected());
    from = tls.local_address();
    tls.abrupt_close();
  }
  const std::string reason = gateway->wait_log({{"client", from}}).at("reason");
  EXPECT_TRUE(reason == "client_closed" || reason == "peer_connection_closed" ||
              reason == "client_reset" || reason == "client_truncated")
      << reason;
}

TEST_F(BackendFailure, AResetMidStreamIsNeverACleanEnd) {
  Backend backend(reset_after(1000));
  start_for(backend);
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send(std::string(1000, 'x')));
  const std::string got = tls.receive_all();
  EXPECT_LE(got.size(), 1000U);
  EXPECT_NE(tls.end(), TlsEnd::kCloseNotify);
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "backend_reset");
}

// What a client sends at once often finds the reset first, and takes it from the socket: the other
// direction then saw an end of file, which the client got as a clean end. On a slow machine the
// connect itself may find it: such an endpoint was not there.
TEST_F(BackendFailure, AResetThatASendFindsIsNoCleanEnd) {
  Backend backend(reset_after(0));
  start_for(backend);
  int connected = 0;
  for (int i = 0; i < 30; ++i) {
    TlsClient tls = connect();
    tls.send("at once");
    EXPECT_EQ(tls.receive_all(), "");
    const std::string reason = gateway->wait_log({{"client", tls.local_address()}}).at("reason");
    if (reason == "backend_refused") {
      EXPECT_EQ(tls.alert().value_or(-1), kInternalError);
      continue;
    }
    ++connected;
    EXPECT_EQ(tls.end(), TlsEnd::kReset) << to_string(tls.end());
    EXPECT_EQ(reason, "backend_reset");
  }
  EXPECT_GT(connected, 0);
}

// What the backend said before its reset is delivered, to a client that is slow as well.
TEST_F(BackendFailure, AResetDoesNotOvertakeWhatCameBefore) {
  const std::string data = pseudo_random(700'000, 22);
  Backend backend([&](Fd& socket) {
    send_all(socket, data);
    // Its own reset must not throw anything away either.
    wait_until("the gateway has it", [&] { return unsent_bytes(socket) == 0; });
    socket.reset();
  });
  start_for(backend);
  TlsClient tls = connect();
  gateway->wait_metric("received_bytes_total", {{"leg", "backend"}},
                       static_cast<double>(data.size()));
  const std::string got = tls.receive_all();
  EXPECT_EQ(got.size(), data.size());
  EXPECT_EQ(sha256_hex(got), sha256_hex(data));
  EXPECT_EQ(tls.end(), TlsEnd::kReset) << to_string(tls.end());
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "backend_reset");
}

TEST_F(BackendFailure, AnEndpointThatComesBackServesAgain) {
  auto backend = std::make_unique<Backend>(echo());
  const std::string address = backend->address();
  start_for(*backend);
  EXPECT_TRUE(served());
  backend.reset();
  expect_ended(as(client), "backend_refused", kInternalError);
  backend = std::make_unique<Backend>(echo(), address);
  EXPECT_TRUE(eventually([&] { return bool{served()}; }));
}

TEST_F(BackendFailure, AStalledBackendIsEndedByTheIdleTimeout) {
  Backend backend(stall());
  start_for(backend, {"--idle-timeout", "300ms"});
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send("anybody there?"));
  tls.receive_all();
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "idle_timeout");
}

TEST_F(BackendFailure, AConnectionInUseIsNotIdle) {
  Backend backend(echo());
  start_for(backend, {"--idle-timeout", "2s"});
  TlsClient tls = connect();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(4);
  int rounds = 0;
  while (std::chrono::steady_clock::now() < until) {
    ASSERT_TRUE(tls.echo("still here")) << rounds;
    ++rounds;
  }
  EXPECT_EQ(gateway->metrics().sum("connections"), 1);
}

TEST_F(BackendFailure, LifetimeEndsEvenABusyConnection) {
  Backend backend(echo());
  start_for(backend, {"--max-lifetime", "1s"});
  TlsClient tls = connect();
  EXPECT_TRUE(eventually([&] { return !tls.echo("still here"); }));
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "lifetime");
}

TEST_F(BackendFailure, ABackendThatClosesAtOnceEndsTheClientInOrder) {
  Backend backend([](Fd&) {});
  start_for(backend);
  TlsClient tls = connect();
  EXPECT_EQ(tls.receive_all(), "");
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  tls.close_notify();
  gateway->wait_log({{"client", tls.local_address()}});
}

}  // namespace
}  // namespace sallyport::test
