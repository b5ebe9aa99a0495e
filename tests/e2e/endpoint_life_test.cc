// Endpoints come up and go down, are taken out and come back, and leave with their connections.
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

/// Accepts, and resets each connection while `broken`; echoes otherwise.
Backend::Serve reset_while(const std::atomic<bool>& broken) {
  return [&broken, good = echo(), bad = reset_after(0)](Fd& socket) {
    broken ? bad(socket) : good(socket);
  };
}

/// Answers HTTP with the status that it has at the time.
Backend::Serve status_of(const std::atomic<int>& status) {
  return [&status](Fd& socket) {
    std::string request(1024, '\0');
    if (::recv(socket.get(), request.data(), request.size(), 0) <= 0) return;
    send_all(socket, "HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Length: 0\r\n\r\n");
  };
}

class EndpointLifeScenario : public Scenario {
 protected:
  /// Serves the route "orders" by a policy with these keys.
  Gateway& start_with(const std::string& keys, const std::vector<std::string>& flags = {}) {
    write_policy(keys);
    std::vector<std::string> all{"--policy", policy_path()};
    all.insert(all.end(), flags.begin(), flags.end());
    return start(all);
  }
  void write_policy(const std::string& keys) {
    dir.write("policy.json", R"({"routes": {"orders": {"allow": ["spiffe://example.org/**"])" +
                                 (keys.empty() ? "" : ", " + keys) + "}}}");
  }
  std::string policy_path() const { return (dir.path() / "policy.json").string(); }
  double of(const std::string& metric, const std::string& backend) const {
    return gateway->metrics().sum(metric, {{"route", "orders"}, {"backend", backend}});
  }
  bool becomes(const std::string& metric, const std::string& backend, double value) const {
    return eventually([&] { return of(metric, backend) == value; });
  }
};

TEST_F(EndpointLifeScenario, ChecksTakeOutAndTakeBack) {
  std::atomic<int> status = 200;
  Backend checked(status_of(status));
  Backend one(echo());
  Backend other(echo());
  discover({one.address(), other.address()});
  start_with(R"("health": {"type": "tcp", "interval": "100ms", "rise": 1, "fall": 1})");
  EXPECT_TRUE(becomes("backend_healthy", one.address(), 1));
  EXPECT_TRUE(becomes("backend_healthy", other.address(), 1));
  EXPECT_GE(of("backend_checks_total", one.address()), 1);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(served()) << i;

  // By a check at the port of another server, so that it fails by its answer alone.
  write_policy(R"("health": {"type": "http", "interval": "100ms", "rise": 1, "fall": 1, "port": )" +
               checked.port() + "}");
  status = 503;
  gateway->wait_err({"endpoint is down", one.address(), "status 503"});
  EXPECT_TRUE(becomes("backend_up", one.address(), 0));
  EXPECT_TRUE(served()) << "none is up: all are used";
  status = 204;
  gateway->wait_err({"endpoint is up", one.address()});
  EXPECT_TRUE(becomes("backend_up", one.address(), 1));
}

TEST_F(EndpointLifeScenario, WhatIsDownGetsNoConnection) {
  std::atomic<int> status = 503;
  Backend bad(status_of(status));
  Backend good(http_server("x"));
  discover({bad.address(), good.address()});
  start_with(R"("health": {"type": "http", "interval": "100ms", "rise": 1, "fall": 1})");
  EXPECT_TRUE(becomes("backend_up", good.address(), 1));
  gateway->wait_err({"endpoint is down", bad.address()});
  for (int i = 0; i < 8; ++i) {
    TlsClient request = connect();
    request.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(request.receive(12), "HTTP/1.1 200") << i;
    request.close_notify();
    request.receive_all();
  }
  EXPECT_NE(gateway->get("/routes").body.find("\"health\": \"down\""), std::string::npos);
}

TEST_F(EndpointLifeScenario, WhereNoneIsHealthyTheRouteMayRefuse) {
  const RefusingAddress refusing;
  discover({refusing.address()});
  start_with(R"("when-none-healthy": "refuse",
                "health": {"type": "tcp", "interval": "100ms", "rise": 1, "fall": 1})");
  gateway->wait_err({"endpoint is down", refusing.address(), "ECONNREFUSED"});
  expect_ended(as(client), "no_endpoint", kInternalError);
}

TEST_F(EndpointLifeScenario, ConnectionsEndWithAnEndpointThatGoesDownWhereTheRouteSaysSo) {
  std::atomic<int> status = 200;
  Backend checked(status_of(status));
  Backend backend(echo());
  discover({backend.address()});
  const std::string health =
      R"("health": {"type": "http", "interval": "100ms", "rise": 1, "fall": 1, "port": )" +
      checked.port() + "}";
  start_with(health + R"(, "end-when-down": true)", {"--end-spread", "0"});
  EXPECT_TRUE(becomes("backend_healthy", backend.address(), 1));
  TlsClient open = connect();
  EXPECT_TRUE(open.echo("hello"));
  status = 500;
  open.receive_all();
  EXPECT_EQ(open.end(), TlsEnd::kTruncated) << "the backend gave no clean end";
  EXPECT_EQ(gateway->wait_log({{"reason", "backend_down"}}).at("backend"), backend.address());
}

TEST_F(EndpointLifeScenario, ConnectionsOutliveTheirEndpointAndAreShownUntilTheirTimeIsOver) {
  Backend first(echo());
  Backend second(echo());
  discover({first.address()});
  start_with("", {"--end-spread", "0"});
  TlsClient open = connect();
  EXPECT_TRUE(open.echo("hello"));
  EXPECT_EQ(of("backend_connections", first.address()), 1);
  discover({second.address()});
  EXPECT_TRUE(becomes("backend_up", second.address(), 1));
  EXPECT_TRUE(open.echo("still here"));
  EXPECT_EQ(of("backend_connections", first.address()), 1);
  EXPECT_FALSE(
      gateway->metrics().has("backend_up", {{"route", "orders"}, {"backend", first.address()}}));
  EXPECT_NE(gateway->get("/routes").body.find("\"gone\""), std::string::npos);

  write_policy(R"("removal-timeout": "1ms")");
  open.receive_all();
  EXPECT_EQ(gateway->wait_log({{"reason", "endpoint_removed"}}).at("backend"), first.address());
  EXPECT_TRUE(served()) << "the other is as it was";
}

TEST_F(EndpointLifeScenario, ADrainingEndpointKeepsItsConnectionsForTheRemovalTimeout) {
  Backend first(echo());
  Backend second(echo());
  discover({{{first.address()}, {{"route", "orders"}}}});
  start_with(R"("removal-timeout": "1h")", {"--end-spread", "0"});
  TlsClient open = connect();
  EXPECT_TRUE(open.echo("hello"));
  discover({{{first.address()}, {{"route", "orders"}, {"state", "draining"}}},
            {{second.address()}, {{"route", "orders"}}}});
  EXPECT_TRUE(becomes("backend_up", first.address(), 0));
  EXPECT_TRUE(open.echo("for an hour"));
  write_policy(R"("removal-timeout": "1ms")");
  open.receive_all();
  gateway->wait_log({{"reason", "endpoint_removed"}});
}

// It accepts, so that connects know nothing of it.
TEST_F(EndpointLifeScenario, OneThatResetsBeforeItsFirstByteIsEjected) {
  std::atomic<bool> broken = true;
  Backend bad(reset_while(broken));
  Backend good(named("hello"));
  discover({bad.address(), good.address()});
  start_with(R"("ejection": {"failures": 2, "time": "1s", "max-time": "1s"})");
  EXPECT_TRUE(eventually([&] {
    TlsClient silent = connect();
    silent.receive(1);  // or until it is reset
    silent.close_notify();
    silent.receive_all();
    return of("backend_ejections_total", bad.address()) >= 1;
  }));
  EXPECT_EQ(of("backend_up", bad.address()), 0);
  broken = false;
  EXPECT_TRUE(becomes("backend_up", bad.address(), 1)) << "by itself";
  EXPECT_EQ(of("backend_ejections_total", good.address()), 0);
}

// A backend that falls over what a client sends.
void reset_behind_a_byte(Fd& socket) {
  char byte = 0;
  [[maybe_unused]] const auto received = ::recv(socket.get(), &byte, 1, 0);
  reset_after(0)(socket);
}

class ClientCausesResets : public EndpointLifeScenario {
 protected:
  /// Eight connections, each of which its client makes the backend reset, eject nothing.
  void expect_no_ejection(const std::function<void(TlsClient&)>& cause) {
    Backend one(reset_behind_a_byte);
    Backend other(reset_behind_a_byte);
    discover({one.address(), other.address()});
    start_with(R"("ejection": {"failures": 1})");
    for (int i = 0; i < 8; ++i) {
      TlsClient causing = connect();
      cause(causing);
      causing.receive_all();
    }
    gateway->wait_logs(8);
    EXPECT_EQ(gateway->metrics().sum("backend_ejections_total", {}), 0);
  }
};

TEST_F(ClientCausesResets, ByWhatItSends) {
  expect_no_ejection([](TlsClient& causing) { causing.send("poison"); });
}

// The backend answers the end with a reset: nothing is wrong with that one.
TEST_F(ClientCausesResets, ByEndingAtOnce) {
  expect_no_ejection([](TlsClient& causing) { causing.close_notify(); });
}

// All are used where none is healthy: who was let in then is not ended for it.
TEST_F(EndpointLifeScenario, WhoIsLetInWhileAllAreDownStays) {
  std::atomic<int> status = 500;
  Backend checked(status_of(status));
  Backend backend(echo());
  discover({backend.address()});
  start_with(R"("end-when-down": true, "health": {"type": "http", "interval": "100ms", "rise": 1,
                "fall": 1, "port": )" +
             checked.port() + "}");
  gateway->wait_err({"endpoint is down", backend.address()});
  TlsClient open = connect();
  EXPECT_TRUE(open.echo("a"));
  const double judged = gateway->metrics().sum("live_rechecks_total", {});
  write_policy(R"("end-when-down": true, "slow-start": "1s", "health": {"type": "http",
                  "interval": "100ms", "rise": 1, "fall": 1, "port": )" +
               checked.port() + "}");
  gateway->wait_metric("live_rechecks_total", {}, judged + 1);
  EXPECT_TRUE(open.echo("b"));
}

TEST_F(EndpointLifeScenario, AFlappingOneBesideTwoGoodOnesCostsNobodyAnything) {
  auto flapping = std::make_unique<Backend>(echo());
  const std::string address = flapping->address();
  Backend one(echo());
  Backend other(echo());
  discover({address, one.address(), other.address()});
  start_with("");
  for (int round = 0; round < 20; ++round) {
    if (flapping) {
      flapping.reset();
    } else {
      flapping = std::make_unique<Backend>(echo(), address);
    }
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(served()) << round << " " << i;
  }
}

}  // namespace
}  // namespace sallyport::test
