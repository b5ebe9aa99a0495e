// --explain: what a handshake would say of a client, by the same words, without one.
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

// A client, and what it asks for.
struct Asking {
  std::string name;
  TestCertificate certificate;
  std::string sni = {};
  std::vector<std::string> alpn = {};
};

// What a client was told: a result word and the alert, or "success" and none.
struct Told {
  std::string word;
  std::optional<int> alert;
  bool operator==(const Told&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Told& told) {
  return out << told.word << ", alert " << told.alert.value_or(-1);
}

class Explain : public Scenario {
 protected:
  std::vector<std::string> with_client(std::vector<std::string> given, const Asking& client) {
    given.insert(given.end(), {"--explain", dir.write("asking.pem", client.certificate.chain_pem)});
    if (!client.sni.empty()) given.insert(given.end(), {"--sni", client.sni});
    std::string offer;
    for (const std::string& each : client.alpn) offer += (offer.empty() ? "" : ":") + each;
    if (!offer.empty()) given.insert(given.end(), {"--alpn", offer});
    return flags(std::move(given));
  }
  Finished explain(std::vector<std::string> given, const Asking& client) {
    Finished finished = run_sallyport(with_client(std::move(given), client));
    EXPECT_EQ(sanitizer_report(finished.err), "");
    return finished;
  }

  static Told explained(const Finished& finished) {
    if (finished.status == 0) return {"success", std::nullopt};
    std::smatch found;
    static const std::regex kVerdict("verdict: refused, ([a-z_]+), alert [a-z_]+ \\(([0-9]+)\\)");
    if (finished.status != 3 || !std::regex_search(finished.out, found, kVerdict))
      return {"status " + std::to_string(finished.status) + finished.out + finished.err, {}};
    return {found[1], std::stoi(found[2])};
  }

  Told told_by_handshake(const Asking& client) {
    ClientOptions options = as(client.certificate);
    options.sni = client.sni;
    options.alpn = client.alpn;
    const std::size_t before = gateway->connection_log().size();
    std::optional<int> alert;
    {
      TlsClient tls = connect(std::move(options));
      if (tls.connected() && tls.echo("ping")) {
        tls.close_notify();
        tls.receive_all();
      } else {
        tls.receive_all();
        alert = tls.alert();
      }
    }
    const std::string reason = gateway->wait_logs(before + 1).back().at("reason");
    return {reason == "done" ? "success" : reason, alert};
  }

  // "passed route", "FAILED chain": without what was found, of which /refusals has less.
  static std::vector<std::string> steps_explained(const Finished& finished) {
    std::vector<std::string> steps;
    std::istringstream lines(finished.out);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("passed ") || line.starts_with("FAILED "))
        steps.push_back(line.substr(0, line.find(':')));
    return steps;
  }
  // Of the latest refusal that the log has.
  std::vector<std::string> steps_of_refusal() {
    const std::string id = gateway->connection_log().back().at("id");
    nlohmann::json latest;
    wait_until("the refusal is listed", [&] {
      const auto listed = nlohmann::json::parse(gateway->get("/refusals").body);
      if (listed.empty()) return false;
      latest = listed.front();
      return latest.at("id") == id;
    });
    std::vector<std::string> steps;
    for (const auto& step : latest.at("steps"))
      steps.push_back((step.at("passed") ? "passed " : "FAILED ") +
                      step.at("subject").get<std::string>());
    return steps;
  }

  // One of each kind; the first one is let in, the second one is to be revoked.
  std::vector<Asking> clients() const {
    using std::chrono::hours;
    const TestAuthority sub = root.intermediate();
    const TestAuthority stranger("Stranger");
    const TestCertificate web = root.issue({.cn = "again", .spiffe = {kWeb}});
    TestCertificate alone = sub.issue({.spiffe = {kWeb}});
    alone.chain_pem = alone.cert_pem;
    TestCertificate crowd = client;
    for (int i = 0; i < 10; ++i) crowd.chain_pem += stranger.cert_pem();
    const auto leaf = [&](LeafSpec spec) { return root.issue(spec); };
    return {
        {"allowed", client},
        {"allowed, too", web},
        {"of a name", client, "orders.example.org"},
        {"of another name", client, "nowhere.example.org"},
        {"h2", client, "api.example.org", {"h2"}},
        {"http/1.1 and h2", client, "API.example.org.", {"http/1.1", "h2"}},
        {"http/1.0", client, "api.example.org", {"http/1.0"}},
        {"no protocol", client, "api.example.org"},
        {"address for a name", client, "127.0.0.1"},
        {"not allowed", leaf({.spiffe = {"spiffe://example.org/ns/other/sa/web"}})},
        {"not allowed there", client, "billing.example.org"},
        {"by DNS", leaf({.dns = {"job.example.org"}}), "billing.example.org"},
        {"no name", leaf({})},
        {"two SPIFFE IDs", leaf({.spiffe = {kWeb, "spiffe://example.org/b"}})},
        {"CA:TRUE", leaf({.spiffe = {kWeb}, .ca = true})},
        {"expired", leaf({.spiffe = {kWeb}, .not_before = -hours(3), .not_after = -hours(1)})},
        {"early", leaf({.spiffe = {kWeb}, .not_before = hours(1)})},
        {"serverAuth", leaf({.spiffe = {kWeb}, .eku = Eku::kServerAuth})},
        {"no usage", leaf({.spiffe = {kWeb}, .eku = Eku::kAbsent})},
        {"RSA", leaf({.spiffe = {kWeb}, .key_type = KeyType::kRsa2048})},
        {"Ed25519", leaf({.spiffe = {kWeb}, .key_type = KeyType::kEd25519})},
        {"self-signed", self_signed({.spiffe = {kWeb}})},
        {"unknown", stranger.issue({.spiffe = {kWeb}})},
        {"intermediate", sub.issue({.spiffe = {kWeb}})},
        {"intermediate that is missing", alone},
        {"too many certificates", crowd},
    };
  }

  std::vector<std::string> with_policy() {
    return {"--policy", dir.write("policy.json", R"({"routes": {
        "orders": {"allow": ["spiffe://example.org/ns/shop/**"]},
        "named": {"sni": ["orders.example.org"], "allow-any-verified": true},
        "billing": {"sni": ["billing.example.org"], "allow": ["dns:*.example.org"]},
        "api": {"sni": ["api.example.org"], "alpn": ["h2"], "allow-any-verified": true}}})")};
  }
  void expect_the_same(const std::vector<std::string>& given) {
    Backend backend(echo());
    discover({{{backend.address()}, {{"route", "orders"}}},
              {{backend.address()}, {{"route", "named"}}},
              {{backend.address()}, {{"route", "billing"}}},
              {{backend.address()}, {{"route", "api"}}}});
    start(given);
    int compared = 0;
    for (const Asking& each : clients()) {
      const Finished finished = explain(given, each);
      EXPECT_EQ(explained(finished), told_by_handshake(each)) << each.name;
      if (finished.status == 0) continue;
      const auto steps = steps_of_refusal();
      if (steps.empty()) continue;  // ended before any certificate was looked at
      EXPECT_EQ(steps_explained(finished), steps) << each.name;
      ++compared;
    }
    EXPECT_GT(compared, 12);
  }
};

TEST_F(Explain, SaysWhatAHandshakeDoes) {
  expect_the_same(with_policy());
}

TEST_F(Explain, SaysWhatAHandshakeDoesUnderRevocation) {
  std::vector<std::string> given = with_policy();
  given.insert(given.end(), {"--crl", dir.write("root.crl", root.crl({client.serial})),
                             "--client-eku", "require"});
  expect_the_same(given);
}

TEST_F(Explain, ReadsNoKeyAndNoSecret) {
  discover({"127.0.0.1:9"});
  const std::vector<std::string> given{"--cert",        "/nowhere/tls.crt", "--key",
                                       "/nowhere/k",    "--credentials",    "/nowhere/b.pem",
                                       "--ticket-keys", "/nowhere/t"};
  const Finished finished = explain(given, {"allowed", client});
  EXPECT_EQ(finished.status, 0) << finished.err;
}

TEST_F(Explain, ShowsTheStepsAndTheClient) {
  discover({"127.0.0.1:9"});
  const Finished finished = explain({}, {"allowed", client});
  EXPECT_EQ(finished.status, 0) << finished.err;
  for (const char* text :
       {"client: 1 certificate; no server name (--sni); no protocol (--alpn)\n",
        "presented: spiffe://example.org/ns/shop/sa/web; subject CN=web, serial ",
        "\npassed route: orders, no protocol is chosen\n",
        "\npassed chain: ", "\npassed rule: ", "\nverdict: let in on route orders\n"})
    EXPECT_NE(finished.out.find(text), std::string::npos) << text << " in " << finished.out;
}

// The routes' protocols stay those of the configuration.
TEST_F(Explain, TakesTheLastAlpnForTheClients) {
  discover({"127.0.0.1:9"});
  const Asking h2{"h2", client, "", {"h2"}};
  EXPECT_EQ(explained(explain({"--alpn", "h2:http/1.1"}, h2)), (Told{"success", {}}));
  const Told none{"no_application_protocol", kNoApplicationProtocol};
  EXPECT_EQ(explained(explain({"--alpn", "http/1.1"}, h2)), none);
  EXPECT_EQ(explained(explain({"--config", dir.write("s.conf", "alpn = http/1.1\n")}, h2)), none);
}

TEST_F(Explain, WhatAPeerWroteIsPrintable) {
  discover({"127.0.0.1:9"});
  const TestCertificate odd = root.issue({.cn = "a\x1b[2J\nverdict: let in", .spiffe = {kWeb}});
  const Finished finished = explain({}, {"odd", odd});
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.out.find('\x1b'), std::string::npos) << finished.out;
  EXPECT_EQ(finished.out.find("\nverdict: let in\n"), std::string::npos) << finished.out;
}

TEST_F(Explain, ABadConfigurationOrFileIsTwo) {
  discover({"127.0.0.1:9"});
  const Finished no_ca = explain({"--ca", "/nowhere/ca.pem"}, {"allowed", client});
  EXPECT_EQ(no_ca.status, 2);
  EXPECT_NE(no_ca.err.find("/nowhere/ca.pem"), std::string::npos) << no_ca.err;
  TestCertificate key_alone = client;
  key_alone.chain_pem = client.key_pem;
  const Finished no_certificate = explain({}, {"key", key_alone});
  EXPECT_EQ(no_certificate.status, 2);
  EXPECT_NE(no_certificate.err.find("holds no certificate"), std::string::npos)
      << no_certificate.err;
  EXPECT_EQ(run_sallyport(flags({"--explain", "/nowhere/client.pem"})).status, 2);
}

}  // namespace
}  // namespace sallyport::test
