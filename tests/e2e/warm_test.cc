// A backend that takes its time to be connected to: "warm" keeps connections to it ready. A client
// gets one of these where it is whole, and a new one where it is not; it never feels the difference
// but in time.
#include <signal.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/scenario.h"
#include "tests/support/tls_backend.h"

namespace sallyport::test {
namespace {

// The first connection of a backend lasts until it is told to end.
class FirstEnds {
 public:
  /// For each connection; the first waits here.
  bool ends_this() {
    if (!first_.exchange(false)) return false;
    wait_until("the first is told to end", [this] { return told_.load(); });
    return true;
  }
  void end() { told_ = true; }

 private:
  std::atomic<bool> first_ = true, told_ = false;
};

class Warm : public Scenario {
 protected:
  void write_policy(const std::string& warm, const std::string& more = "") {
    policy = dir.write("policy.json",
                       R"({"routes": {"orders": {"allow": ["spiffe://example.org/**"], "warm": )" +
                           warm + more + "}}}");
  }
  void start_warm(const std::string& warm, const std::vector<std::string>& targets,
                  const std::string& more = "") {
    write_policy(warm, more);
    discover(targets);
    start({"--policy", policy, "--shards", "1"});
  }
  double warm(const std::string& what) const {
    return gateway->metrics().sum("warm_" + what, {{"route", "orders"}});
  }
  // That many wait, and no others are connected.
  void wait_warm(double count) const {
    wait_until("warm connections", [&] { return warm("connections") == count; });
  }
  // The backend may hear later of what is there, or gone, for the gateway.
  static void wait_open(const Backend& backend, int count) {
    wait_until("connections of the backend", [&] { return backend.open() == count; });
  }
  static void wait_accepted(const Backend& backend, int count) {
    wait_until("connections to the backend", [&] { return backend.accepted() == count; });
  }

  std::string policy;
};

TEST_F(Warm, ServesClientsByConnectionsThatWereReady) {
  const Backend backend(echo());
  start_warm(R"({"min": 2})", {backend.address()});
  wait_warm(2);
  wait_accepted(backend, 2);
  TlsClient one = connect();
  EXPECT_TRUE(one.echo("hello"));
  EXPECT_EQ(warm("hits_total"), 1);
  wait_warm(2);
  wait_accepted(backend, 3);
  EXPECT_EQ(warm("misses_total"), 0);
  EXPECT_EQ(gateway->metrics().sum("backend_connections", {{"route", "orders"}}), 3)
      << "those that wait are connections of the endpoint";
  one.close_notify();
  one.receive_all();
}

TEST_F(Warm, KeepsAsManyOnSeveralShardsAsOnOne) {
  const Backend one(echo());
  const Backend other(echo());
  write_policy(R"({"min": 3, "max": 5})");
  discover({one.address(), other.address()});
  start({"--policy", policy, "--shards", "2"});
  wait_warm(6);
  wait_open(one, 3);
  wait_open(other, 3);
}

// What is ended is seen at once, and a client that comes then gets a new connection.
TEST_F(Warm, ServesClientsWhereTheBackendEndsWhatIsIdle) {
  FirstEnds first;
  const Backend backend([&first](Fd& socket) {
    if (!first.ends_this()) echo()(socket);
  });
  start_warm(R"({"min": 1})", {backend.address()});
  wait_warm(1);
  first.end();
  wait_warm(0);
  EXPECT_TRUE(served());
  EXPECT_EQ(warm("hits_total"), 0);
  EXPECT_EQ(warm("misses_total"), 1);
  wait_warm(1);
  EXPECT_TRUE(served());
  EXPECT_EQ(warm("hits_total"), 1);
}

// Its greeting is the first client's that comes afterwards, if anybody's: it is not kept.
TEST_F(Warm, KeepsNoConnectionOnWhichTheBackendSpeaksFirst) {
  const Backend backend(named("220 ready\r\n"));
  start_warm(R"({"min": 1})", {backend.address()});
  wait_until("one that was given up",
             [&] { return backend.accepted() > 0 && backend.open() == 0; });
  TlsClient greeted = connect();
  EXPECT_EQ(greeted.receive(11), "220 ready\r\n");
  EXPECT_EQ(warm("hits_total"), 0);
  greeted.close_notify();
  greeted.receive_all();
}

TEST_F(Warm, CountsOneThatIsEndedUnansweredAsAMiss) {
  const Backend backend([](Fd& socket) {
    std::string request;
    receive(socket, request, 1);
  });
  start_warm(R"({"min": 1})", {backend.address()});
  wait_warm(1);
  TlsClient asking = connect();
  asking.send("x");
  EXPECT_EQ(asking.receive_all(), "");
  asking.close_notify();
  gateway->wait_logs(1);
  EXPECT_EQ(warm("hits_total"), 0);
  EXPECT_EQ(warm("misses_total"), 1);
}

TEST_F(Warm, IsNotMultipliedByABurstAndGivenBackBehindIt) {
  constexpr int kClients = 12;
  const Backend backend(echo());
  start_warm(R"({"min": 0, "max": 3, "max-idle": "2s"})", {backend.address()});
  EXPECT_EQ(backend.accepted(), 0) << "nobody needs any";
  std::vector<TlsClient> burst;
  for (int i = 0; i < kClients; ++i) burst.push_back(connect());
  for (TlsClient& each : burst) EXPECT_TRUE(each.echo("hello"));
  EXPECT_LE(backend.open(), kClients + 3);
  EXPECT_GE(warm("misses_total"), 1);
  EXPECT_EQ(warm("hits_total") + warm("misses_total"), kClients);
  for (TlsClient& each : burst) {
    each.close_notify();
    each.receive_all();
  }
  wait_warm(0);
  wait_open(backend, 0);
}

TEST_F(Warm, IsMadeAnewWhenItHasWaitedForLong) {
  const Backend backend(echo());
  start_warm(R"({"min": 1, "max": 2, "max-idle": "200ms"})", {backend.address()});
  wait_until("successors", [&] { return backend.accepted() >= 4; });
  wait_open(backend, 1);
}

TEST_F(Warm, FollowsThePolicyAndTheDiscovery) {
  const Backend backend(echo());
  const Backend other(echo());
  start_warm(R"({"min": 2})", {backend.address()});
  wait_open(backend, 2);
  const double reloaded = reloads("success");
  write_policy(R"({"min": 1})");
  wait_reload("success", reloaded);
  wait_open(backend, 1);
  discover({other.address()});
  wait_open(backend, 0);
  wait_open(other, 1);
  discover({DiscoveryGroup{{other.address()}, {{"route", "orders"}, {"state", "draining"}}}});
  wait_open(other, 0);
}

TEST_F(Warm, GivesItsPlacesToClients) {
  const Backend backend(echo());
  start_warm(R"({"min": 2})", {backend.address()}, R"(, "max-connections-per-endpoint": 3)");
  wait_warm(2);
  std::vector<TlsClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(connect());
    EXPECT_TRUE(clients.back().echo("hello"));
    EXPECT_LE(gateway->metrics().sum("backend_connections", {{"route", "orders"}}), 3);
  }
  wait_warm(0);
  wait_open(backend, 3);
  for (TlsClient& each : clients) {
    each.close_notify();
    each.receive_all();
  }
}

TEST_F(Warm, BeginsWithTheHeaderOfItsClient) {
  Transcript transcript;
  const Backend backend(listener(transcript));
  start_warm(R"({"min": 1})", {backend.address()}, R"(, "proxy-protocol": {"tlvs": []})");
  wait_warm(1);
  TlsClient asking = connect();
  asking.send("hello");
  constexpr std::size_t kHeader = 28;  // for IPv4
  transcript.wait_size(kHeader + 5);
  const std::string heard = transcript.data();
  EXPECT_TRUE(heard.starts_with("\r\n\r\n"));
  EXPECT_EQ(heard.substr(kHeader), "hello");
  asking.close_notify();
  asking.receive_all();
  gateway->wait_logs(1);
  EXPECT_EQ(warm("hits_total"), 1);
}

// The one that has been asked stays: its answer is due.
TEST_F(Warm, EndsWhenTheGatewayDrains) {
  Transcript transcript;
  const Backend backend(listener(transcript));
  write_policy(R"({"min": 2})");
  discover({backend.address()});
  start({"--policy", policy, "--shards", "1", "--drain-timeout", "1h"});
  wait_warm(2);
  TlsClient asking = connect();
  asking.send("hello");
  transcript.wait_size(5);
  wait_open(backend, 3);
  gateway->signal(SIGTERM);
  wait_open(backend, 1);
  asking.close_notify();
  asking.receive_all();
  EXPECT_EQ(gateway->ended(), "");
  gateway.reset();
}

// ---- backends that speak TLS

constexpr char kOrdersId[] = "spiffe://example.org/ns/shop/sa/orders";

class WarmTls : public Warm {
 protected:
  static std::string verifies(const std::string& id) {
    return R"(, "backend-tls": {"verify": [")" + id + "\"]}";
  }
  Backend::Serve orders(const TestCertificate& certificate,
                        const TlsServe& serve = echo_over_tls) const {
    return over_tls({.certificate = certificate, .client_ca = root.cert_pem()}, serve);
  }
  double verified() const {
    return gateway->metrics().sum("backend_tls_handshakes_total",
                                  {{"route", "orders"}, {"result", "success"}});
  }
  TestCertificate backend_certificate = root.issue({.spiffe = {kOrdersId}});
};

// The tickets that come behind a handshake are no stray bytes. (While they come it is lost to a
// client: the backend has sent all of them before it serves.)
TEST_F(WarmTls, IsVerifiedAhead) {
  std::atomic<int> serving = 0;
  const Backend backend(orders(backend_certificate, [&serving](SSL* ssl) {
    ++serving;
    echo_over_tls(ssl);
  }));
  start_warm(R"({"min": 2})", {backend.address()}, verifies(kOrdersId));
  wait_warm(2);
  EXPECT_EQ(verified(), 2);
  for (int i = 0; i < 3; ++i) {
    wait_warm(2);
    wait_until("all tickets were sent", [&] { return serving == 2 + i; });
    EXPECT_TRUE(served());
  }
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(line.at("backend_identity"), kOrdersId);
  wait_warm(2);
  EXPECT_EQ(warm("hits_total"), 3);
  EXPECT_EQ(verified(), 5);
}

TEST_F(WarmTls, KeepsNoConnectionThatTheBackendEnds) {
  FirstEnds first;
  const Backend backend(orders(backend_certificate, [&first](SSL* ssl) {
    if (!first.ends_this()) echo_over_tls(ssl);
  }));
  start_warm(R"({"min": 1})", {backend.address()}, verifies(kOrdersId));
  wait_warm(1);
  first.end();
  wait_warm(0);
  EXPECT_TRUE(served());
  EXPECT_EQ(warm("hits_total"), 0);
  wait_warm(1);
}

TEST_F(WarmTls, EndsWhenItsBackendIsRevoked) {
  const auto crl = dir.write("root.crl", root.crl({}));
  const Backend backend(orders(backend_certificate));
  write_policy(R"({"min": 2, "max-idle": "1h"})", verifies(kOrdersId));
  discover({backend.address()});
  start({"--policy", policy, "--shards", "1", "--crl", crl});
  wait_warm(2);
  const double reloaded = reloads("success");
  dir.replace("root.crl", root.crl({backend_certificate.serial}));
  wait_reload("success", reloaded);
  wait_warm(0);
  expect_ended(as(client), "backend_revoked", kInternalError);
  EXPECT_EQ(warm("hits_total"), 0);
}

TEST_F(WarmTls, EndsWhenItsBackendExpires) {
  const RefusingAddress nobody;
  start_warm(R"({"min": 1, "max-idle": "1h"})", {nobody.address()}, verifies(kOrdersId));
  // Its time begins when everything else is there.
  const Backend backend(
      orders(root.issue({.spiffe = {kOrdersId}, .not_after = std::chrono::seconds(10)})));
  discover({backend.address()});
  wait_warm(1);
  wait_warm(0);
  expect_ended(as(client), "backend_expired", kInternalError);
}

TEST_F(WarmTls, EndsWhenItsRouteAsksForAnother) {
  const Backend backend(orders(backend_certificate));
  start_warm(R"({"min": 1, "max-idle": "1h"})", {backend.address()}, verifies(kOrdersId));
  wait_warm(1);
  const double reloaded = reloads("success");
  write_policy(R"({"min": 1, "max-idle": "1h"})",
               verifies("spiffe://example.org/ns/shop/sa/billing"));
  wait_reload("success", reloaded);
  wait_warm(0);
  expect_ended(as(client), "backend_not_verified", kInternalError);
}

// Our certificate is part of what the backend has let in.
TEST_F(WarmTls, IsMadeAnewWithOurNewCertificate) {
  const Backend backend(orders(backend_certificate));
  start_warm(R"({"min": 1, "max-idle": "1h"})", {backend.address()}, verifies(kOrdersId));
  wait_warm(1);
  const double reloaded = reloads("success");
  const TestCertificate renewed =
      root.issue({.cn = "gateway", .dns = {"orders.example.org"}}, server.key);
  dir.replace("gateway.pem", renewed.chain_pem);
  wait_reload("success", reloaded);
  wait_until("another handshake", [&] { return verified() == 2; });
  wait_warm(1);
  EXPECT_TRUE(served());
}

}  // namespace
}  // namespace sallyport::test
