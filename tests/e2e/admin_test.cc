// The admin server: read-only, exact paths, and what it says agrees with what happened.
#include <gmock/gmock.h>

#include <set>
#include <sstream>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

using testing::HasSubstr;

class Admin : public Scenario {
 protected:
  Backend backend{echo()};
};

TEST_F(Admin, AnswersGetAndHeadOnExactPathsOnly) {
  start_for(backend);
  for (const char* path : {"/metrics", "/healthz", "/readyz", "/connections", "/discovery",
                           "/routes", "/credentials"}) {
    EXPECT_EQ(gateway->get(path).status, 200) << path;
    const HttpResponse head = gateway->get(path, "HEAD");
    EXPECT_EQ(head.status, 200) << path;
    EXPECT_EQ(head.body, "") << path;
    for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
      EXPECT_EQ(gateway->get(path, method).status, 405) << method << " " << path;
    }
  }
  for (const char* path : {"/metrics/", "/metrics/x", "/x/metrics", "/etc/passwd", "/healthzz"}) {
    EXPECT_EQ(gateway->get(path).status, 404) << path;
  }
}

TEST_F(Admin, ReadyzSaysWhyNot) {
  discover({DiscoveryGroup{{backend.address()}, {{"route", "orders"}, {"state", "down"}}}});
  gateway = std::make_unique<Gateway>(flags(), false);
  const HttpResponse response = gateway->get("/readyz");
  EXPECT_EQ(response.status, 503);
  EXPECT_FALSE(response.body.empty());
  EXPECT_EQ(gateway->get("/healthz").status, 200);
  discover({backend.address()});
  EXPECT_TRUE(eventually([&] { return gateway->ready(); }));
}

// "alpn": [] refuses who offers a protocol, no alpn looks at none: they looked the same.
TEST_F(Admin, RoutesTellAnEmptyAlpnFromNone) {
  const std::string allow = R"(, "allow-any-verified": true})";
  start_for(backend, {"--policy", dir.write("policy.json", R"({"routes": {
      "orders": {"sni": ["orders.example.org"])" + allow + R"(,
      "billing": {"sni": ["billing.example.org"], "alpn": [])" +
                                                               allow + R"(,
      "mail": {"sni": ["mail.example.org"], "alpn": ["h2"])" + allow +
                                                               "}}")});
  const std::vector<LogLine> routes = parse_objects(gateway->get("/routes").body);
  ASSERT_EQ(routes.size(), 3U);
  EXPECT_EQ(routes[0].at("alpn"), "null");
  EXPECT_EQ(routes[1].at("alpn"), "[]");
  EXPECT_EQ(routes[2].at("alpn"), R"(["h2"])");
}

TEST_F(Admin, ConnectionsListsThoseThatLive) {
  start_for(backend);
  TlsClient tls = connect();
  ASSERT_TRUE(tls.echo(std::string(1000, 'x')));
  std::vector<LogLine> open;
  wait_until("the bytes are counted", [&] {
    open = parse_objects(gateway->get("/connections").body);
    return open.size() == 1 && open[0].at("sent_bytes") == "1000";
  });
  EXPECT_EQ(open[0].at("client"), tls.local_address());
  EXPECT_EQ(open[0].at("identity"), kWeb);
  EXPECT_EQ(open[0].at("route"), "orders");
  EXPECT_EQ(open[0].at("backend"), backend.address());
  EXPECT_EQ(open[0].at("listener"), "127.0.0.1:0");
  EXPECT_EQ(open[0].at("records"), records_model());
  EXPECT_EQ(open[0].at("cipher"), tls.cipher());
  EXPECT_EQ(open[0].at("received_bytes"), "1000");
  EXPECT_TRUE(open[0].contains("since"));
  EXPECT_EQ(open[0].at("backend_address"), backend.address());
  EXPECT_TRUE(open[0].at("local_address").starts_with("127.0.0.1:"));
  EXPECT_EQ(open[0].at("issuer"), "CN=Mesh Root");
  char serial[32];
  std::snprintf(serial, sizeof serial, "%016lX", static_cast<unsigned long>(client.serial));
  EXPECT_EQ(open[0].at("serial"), std::string(serial).substr(16 - open[0].at("serial").size()));
  EXPECT_TRUE(open[0].at("not_after").ends_with(".000Z"));
  const std::string id = open[0].at("id");
  tls.close_notify();
  tls.receive_all();
  EXPECT_EQ(gateway->wait_log({{"id", id}}).at("reason"), "done");
}

TEST_F(Admin, ConnectionsHeedsItsLimit) {
  start_for(backend);
  std::vector<TlsClient> held;
  for (int i = 0; i < 5; ++i) {
    held.push_back(connect());
    ASSERT_TRUE(held.back().echo("x"));
  }
  EXPECT_EQ(parse_objects(gateway->get("/connections?limit=3").body).size(), 3U);
  EXPECT_EQ(parse_objects(gateway->get("/connections?limit=100").body).size(), 5U);
}

TEST_F(Admin, ConnectionsAreAllThereAndCounted) {
  start_for(backend, {"--shards", "2"});
  std::vector<Fd> held;
  for (int i = 0; i < 450; ++i) held.push_back(connect_to(gateway->address()));  // several slices
  wait_until("all are accepted", [&] {
    return gateway->get("/connections?limit=1&total=1").body.contains("\"total\": 450,");
  });
  std::set<std::string> ids;
  const std::string all = gateway->get("/connections?limit=10000").body;
  for (const LogLine& line : parse_objects(all)) ids.insert(line.at("id"));
  EXPECT_EQ(ids.size(), 450U);
  EXPECT_EQ(parse_objects(gateway->get("/connections?limit=220").body).size(), 220U);
}

TEST_F(Admin, PeersAreThoseThatAreOrWereConnected) {
  start_for(backend, {"--shards", "2", "--allow", "spiffe://example.org/ns/shop/**"});
  std::vector<TlsClient> held;
  for (int i = 0; i < 5; ++i) {
    held.push_back(connect());
    ASSERT_TRUE(held.back().echo("x"));
  }
  expect_refused(as(root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/x"}})),
                 "not_authorized", kAccessDenied);

  const std::vector<LogLine> peers = parse_objects(gateway->get("/peers").body);
  ASSERT_EQ(peers.size(), 1U) << "one identity, whatever the shard; nobody who was refused";
  EXPECT_EQ(peers[0].at("identity"), kWeb);
  EXPECT_EQ(peers[0].at("route"), "orders");
  EXPECT_EQ(peers[0].at("listener"), "127.0.0.1:0");
  EXPECT_EQ(peers[0].at("issuer"), "CN=Mesh Root");
  EXPECT_EQ(peers[0].at("connections"), "5");
  EXPECT_THAT(gateway->get("/peers/trust").body, HasSubstr(kWeb));
  EXPECT_THAT(
      gateway->get("/metrics").body,
      HasSubstr("sallyport_peer_certificate_soonest_expiry_timestamp_seconds{route=\"orders\"}"));

  held.clear();
  wait_until("all have left", [&] {
    return parse_objects(gateway->get("/peers").body).at(0).at("connections") == "0";
  });
  EXPECT_THAT(gateway->get("/peers/trust").body, HasSubstr("\"peers\": [\n]"));
}

TEST_F(Admin, RefusalsShowTheStepsOfTheirJudgement) {
  start_for(backend, {"--allow", "spiffe://example.org/ns/shop/*/web", "--allow", "dns:a.b.c"});
  const std::string bank = "spiffe://example.org/ns/bank/sa/x";
  expect_refused(as(root.issue({.spiffe = {bank}})), "not_authorized", kAccessDenied);
  TestAuthority stranger("Another Root");
  expect_refused(as(stranger.issue({.spiffe = {bank}})), "certificate_authority_invalid",
                 kUnknownCa);

  const std::string nearest =
      "no rule of route 'orders' matches; the nearest is spiffe://example.org/ns/shop/*/web";
  EXPECT_EQ(gateway->wait_log({{"reason", "not_authorized"}}).at("detail"), nearest);
  gateway->wait_log({{"reason", "certificate_authority_invalid"}});
  std::vector<std::string> lines;
  std::istringstream body(gateway->get("/refusals").body);
  for (std::string line; std::getline(body, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 4U) << "one a line, in brackets";
  EXPECT_THAT(lines[1], HasSubstr("\"result\":\"certificate_authority_invalid\""));
  EXPECT_THAT(lines[1], HasSubstr("{\"subject\":\"chain\",\"passed\":false,"));
  EXPECT_THAT(lines[1], HasSubstr("\"verified\":false"));
  EXPECT_THAT(lines[2], HasSubstr("\"detail\":\"" + nearest + "\""));
  EXPECT_THAT(lines[2], HasSubstr("\"spiffe\":\"" + bank + "\""));
  EXPECT_THAT(lines[2], HasSubstr("\"verified\":true"));
  EXPECT_THAT(lines[2], HasSubstr("{\"subject\":\"route\",\"passed\":true,"));
  EXPECT_THAT(lines[2], HasSubstr("{\"subject\":\"rule\",\"passed\":false,"));
}

// Prometheus' scrapes and Kubernetes' probes, which wait for a second, come through.
TEST_F(Admin, IdleClientsStarveNoProbe) {
  start_for(backend);
  std::vector<Fd> idle;
  for (int i = 0; i < 600; ++i) {
    idle.push_back(connect_to(gateway->admin()));
    if (i % 2 == 0) send_all(idle.back(), "GET /healthz HTTP/1.1\r\nHost:");
  }
  EXPECT_EQ(gateway->get("/healthz").status, 200);
  EXPECT_EQ(gateway->get("/metrics").status, 200);
}

TEST_F(Admin, IsOnAUnixSocketAsWell) {
  const std::string path = (dir.path() / "admin.sock").string();
  start_for(backend, {"--admin", "127.0.0.1:0", "--admin", "unix:" + path + ",mode=0660"});
  EXPECT_EQ(gateway->admin(), "unix:" + path);
  EXPECT_EQ(gateway->get("/connections").status, 200);
}

TEST_F(Admin, CredentialsHoldNoSecrets) {
  start_for(backend);
  const std::string body = gateway->get("/credentials").body;
  EXPECT_NE(body.find("\"dns:orders.example.org\""), std::string::npos) << body;
  EXPECT_NE(body.find("\"generation\": 1"), std::string::npos) << body;
  EXPECT_NE(body.find("\"refused\": null"), std::string::npos) << body;
  EXPECT_TRUE(is_json(body)) << body;
  EXPECT_EQ(body.find("PRIVATE"), std::string::npos);
  EXPECT_NE(body.find("gateway"), std::string::npos) << body;
  EXPECT_NE(body.find(R"("object": "private key")"), std::string::npos) << "what was read";
  const double before = reloads("failure");
  dir.replace("ca.pem", "nothing");
  wait_reload("failure", before);
  const std::string refused = gateway->get("/credentials").body;
  EXPECT_EQ(refused.find("\"refused\": null"), std::string::npos) << refused;
  EXPECT_NE(refused.find("ca.pem"), std::string::npos) << refused;
}

TEST_F(Admin, RoutesNameEndpointsAndRules) {
  start_for(backend);
  const std::string body = gateway->get("/routes").body;
  EXPECT_TRUE(is_json(body)) << body;
  EXPECT_NE(body.find("orders"), std::string::npos) << body;
  EXPECT_NE(body.find(backend.address()), std::string::npos) << body;
  EXPECT_NE(body.find("spiffe://example.org/**"), std::string::npos) << body;
}

TEST_F(Admin, OnAPublicAddressShowsOnlyMetricsAndHealth) {
  start_for(backend, {"--admin", "0.0.0.0:0"});
  const std::string port = gateway->admin().substr(gateway->admin().rfind(':'));
  for (const char* path : {"/metrics", "/healthz", "/readyz"}) {
    EXPECT_EQ(http("127.0.0.1" + port, path).status, 200) << path;
  }
  for (const char* path : {"/connections", "/discovery", "/routes", "/credentials"}) {
    EXPECT_NE(http("127.0.0.1" + port, path).status, 200) << path;
  }
}

TEST_F(Admin, OnAPublicAddressShowsAllWhenTold) {
  start_for(backend, {"--admin", "0.0.0.0:0", "--admin-expose-all"});
  const std::string port = gateway->admin().substr(gateway->admin().rfind(':'));
  EXPECT_EQ(http("127.0.0.1" + port, "/connections").status, 200);
}

TEST_F(Admin, MetricsNameTheirTypesAndAreThere) {
  start_for(backend);
  EXPECT_TRUE(served());
  expect_refused(as(root.issue({.spiffe = {"spiffe://elsewhere.org/x"}})), "not_authorized",
                 kAccessDenied);
  gateway->wait_metric("connections_closed_total", {}, 2);
  const std::string body = gateway->get("/metrics").body;
  for (const char* name : {"connections gauge",
                           "connections_accepted_total counter",
                           "connections_closed_total counter",
                           "tls_handshakes_total counter",
                           "tls_handshake_duration_seconds histogram",
                           "tls_handshakes_in_flight gauge",
                           "tls_negotiated_total counter",
                           "tls_library gauge",
                           "records_connections gauge",
                           "received_bytes_total counter",
                           "sent_bytes_total counter",
                           "backend_up gauge",
                           "backend_connect_duration_seconds histogram",
                           "certificate_expiry_timestamp_seconds gauge",
                           "config_reloads_total counter",
                           "config_last_reload_success_timestamp_seconds gauge",
                           "shard_busy_seconds_total counter",
                           "build_info gauge",
                           "ktls_fallback_total counter",
                           "ktls_supported gauge",
                           "ktls_rekey_supported gauge"}) {
    EXPECT_NE(body.find(std::string("# TYPE sallyport_") + name), std::string::npos) << name;
  }
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("tls_handshakes_total", {{"result", "success"}}), 1);
  EXPECT_EQ(metrics.sum("connections_closed_total", {{"reason", "done"}, {"route", "orders"}}), 1);
  EXPECT_EQ(metrics.sum("received_bytes_total", {{"route", "orders"}, {"leg", "client"}}), 4);
  EXPECT_EQ(metrics.sum("sent_bytes_total", {{"route", "orders"}, {"leg", "backend"}}), 4);
  EXPECT_EQ(metrics.sum("received_bytes_total", {{"route", "orders"}, {"leg", "backend"}}), 4);
  EXPECT_EQ(metrics.sum("sent_bytes_total", {{"route", "orders"}, {"leg", "client"}}), 4);
  EXPECT_EQ(metrics.sum("tls_handshake_duration_seconds_count"), 2);
  EXPECT_EQ(metrics.sum("tls_handshakes_in_flight"), 0);
  EXPECT_EQ(metrics.sum("tls_library"), 1);
  EXPECT_TRUE(metrics.has("process_resident_memory_bytes"));
}

TEST_F(Admin, MetricsSayThatOpensslIsNotTunedWhenTold) {
  start_for(backend, {"--openssl-tuning", "off"});
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->metrics().sum("tls_library", {{"mode", "stock"}}), 1);
  EXPECT_EQ(gateway->metrics().sum("tls_library"), 1) << "one series";
}

TEST_F(Admin, TheConnectionLineHasEveryKeyOfTheContract) {
  start_for(backend);
  EXPECT_TRUE(served());
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  for (const char* key :
       {"time",        "id",      "listener",        "client",       "identity",     "sni",
        "alpn",        "route",   "backend",         "tls",          "cipher",       "group",
        "resumed",     "records", "received_bytes",  "sent_bytes",   "handshake_ms", "connect_ms",
        "duration_ms", "reason",  "backend_address", "local_address"}) {
    EXPECT_TRUE(line.contains(key)) << key;
  }
  EXPECT_EQ(line.at("sni"), "orders.example.org");
  EXPECT_EQ(line.at("resumed"), "false");
  EXPECT_EQ(line.at("records"), records_model());
}

}  // namespace
}  // namespace sallyport::test
