#include "tests/e2e/scenario.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace sallyport::test {

std::vector<std::string> Scenario::flags(std::vector<std::string> given) {
  const auto has = [&](const char* flag) { return std::ranges::count(given, flag) > 0; };
  std::vector<std::string> all;
  const auto add = [&](std::string flag, std::string value) {
    all.push_back(std::move(flag));
    all.push_back(std::move(value));
  };
  if (!has("--listen")) add("--listen", "127.0.0.1:0");
  if (!has("--admin")) add("--admin", "127.0.0.1:0");
  if (!has("--cert")) {
    add("--cert", dir.write("gateway.pem", server.chain_pem));
    add("--key", dir.write_secret("gateway.key", server.key_pem));
  }
  if (!has("--ca")) add("--ca", dir.write("ca.pem", root.cert_pem()));
  if (!has("--discovery")) add("--discovery", dir / "discovery.json");
  if (!has("--allow") && !has("--allow-any-verified") && !has("--policy")) {
    add("--allow", "spiffe://example.org/**");
  }
  if (!has("--drain-timeout")) add("--drain-timeout", "5s");
  // Guests with kernel TLS run every scenario on it.
  if (!wanted_records().empty() && !has("--records")) add("--records", wanted_records());
  all.insert(all.end(), given.begin(), given.end());
  return all;
}

void Scenario::discover(const std::vector<std::string>& targets) {
  discover({DiscoveryGroup{targets, {{"route", "orders"}}}});
}

void Scenario::discover(const std::vector<DiscoveryGroup>& groups) {
  dir.replace("discovery.json", discovery_json(groups));
}

Gateway& Scenario::start(const std::vector<std::string>& given) {
  gateway = std::make_unique<Gateway>(flags(given));
  return *gateway;
}

Gateway& Scenario::start_for(const Backend& backend, const std::vector<std::string>& given) {
  discover({backend.address()});
  return start(given);
}

ClientOptions Scenario::as(const TestCertificate& certificate) const {
  return {.certificate = certificate, .trust_pem = root.cert_pem(), .sni = "orders.example.org"};
}

::testing::AssertionResult Scenario::served(ClientOptions options) const {
  TlsClient tls = connect(std::move(options));
  if (tls.connected() && tls.echo("ping")) {
    tls.close_notify();
    tls.receive_all();
    if (tls.end() == TlsEnd::kCloseNotify) return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "not served: end " << to_string(tls.end()) << ", alert " << tls.alert().value_or(-1)
         << " " << tls.tls_error() << "\nlog:\n"
         << gateway->process().out() << gateway->process().err();
}

LogLine Scenario::expect_megabyte_each_way(ClientOptions options, const std::string& version,
                                           const std::string& cipher) {
  TlsClient tls = connect(std::move(options));
  EXPECT_TRUE(tls.connected()) << tls.tls_error();
  EXPECT_EQ(tls.cipher(), cipher);
  const std::string data = pseudo_random(1 << 20, 1);
  EXPECT_TRUE(tls.echo(data));
  tls.close_notify();
  EXPECT_EQ(tls.receive_all(), "");
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);

  LogLine line = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(line.at("cipher"), cipher);
  EXPECT_EQ(line.at("tls"), version);
  EXPECT_EQ(line.at("received_bytes"), std::to_string(data.size()));
  EXPECT_EQ(line.at("sent_bytes"), std::to_string(data.size()));
  EXPECT_EQ(
      gateway->metrics().sum("tls_negotiated_total", {{"version", version}, {"cipher", cipher}}),
      1);
  return line;
}

void Scenario::expect_refused(ClientOptions options, const std::string& word, int alert) {
  expect_end(std::move(options), word, word, alert);
}

void Scenario::expect_ended(ClientOptions options, const std::string& reason, int alert) {
  expect_end(std::move(options), "success", reason, alert);
}

void Scenario::expect_end(ClientOptions options, const std::string& result,
                          const std::string& reason, int alert) {
  const double results = gateway->metrics().sum("tls_handshakes_total", {{"result", result}});
  const double closed = gateway->metrics().sum("connections_closed_total", {{"reason", reason}});
  std::string from;
  {
    TlsClient tls = connect(std::move(options));
    from = tls.local_address();
    EXPECT_EQ(tls.receive(1), "");
    EXPECT_EQ(tls.end(), TlsEnd::kAlert) << to_string(tls.end()) << " " << tls.tls_error();
    EXPECT_EQ(tls.alert().value_or(-1), alert);
  }
  const LogLine line = gateway->wait_log({{"client", from}});
  EXPECT_EQ(line.contains("reason") ? line.at("reason") : "", reason)
      << (line.contains("detail") ? line.at("detail") : "");
  gateway->wait_metric("tls_handshakes_total", {{"result", result}}, results + 1);
  gateway->wait_metric("connections_closed_total", {{"reason", reason}}, closed + 1);
}

std::string Scenario::records_model() const {
  return gateway->metrics().sum("ktls_supported") > 0 ? "kernel" : "userspace";
}

// Guests whose kernel is known to take new keys set SALLYPORT_REQUIRE_REKEY.
bool Scenario::follows_key_updates() const {
  if (records_model() == "userspace") return true;
  const bool can_rekey = gateway->metrics().sum("ktls_rekey_supported") > 0;
  EXPECT_TRUE(can_rekey || std::getenv("SALLYPORT_REQUIRE_REKEY") == nullptr)
      << "this kernel was to have re-keying";
  return can_rekey;
}

double Scenario::reloads(const std::string& result, const std::string& source) const {
  Metrics::Labels labels{{"result", result}};
  if (!source.empty()) labels["source"] = source;
  return gateway->metrics().sum("config_reloads_total", labels);
}

void Scenario::wait_reload(const std::string& result, double before,
                           const std::string& source) const {
  wait_until("a reload ends in " + result, [&] { return reloads(result, source) > before; });
  // Each shard answers this behind whatever it was told before: a barrier.
  gateway->get("/connections?limit=1");
}

void Scenario::TearDown() {
  finish();
}

void Scenario::finish() {
  if (!gateway) return;
  // Both ends of every connection are gone by now: one that stays has been forgotten.
  if (gateway->process().running()) {
    double open = -1;
    const bool all_closed =
        eventually([&] { return (open = gateway->metrics().sum("connections")) == 0; });
    EXPECT_TRUE(all_closed) << open << " connections are left";
  }
  EXPECT_EQ(gateway->stop(), "");
  gateway.reset();
}

}  // namespace sallyport::test
