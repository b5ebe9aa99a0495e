// --check --against: what a configuration would do to the connections of a running gateway.
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <regex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

std::string page_of(const std::string& program) {
  return R"({"version": 2, "sallyport": ")" + program +
         R"(", "instance": "000102030405060708090a0b0c0d0e0f", "generation": 1,
             "next": null, "peers": [], "issuers": []})";
}

class Rehearsal : public Scenario {
 protected:
  Finished against(const std::string& url, std::vector<std::string> given = {}) {
    given.insert(given.end(), {"--check", "--against", url});
    Finished finished = run_sallyport(flags(std::move(given)));
    EXPECT_EQ(sanitizer_report(finished.err), "");
    return finished;
  }
};

TEST_F(Rehearsal, SaysWhyItHasNoInventory) {
  discover({"127.0.0.1:9"});
  const RefusingAddress refusing;
  const Backend other(http_server("not a gateway"));
  const Backend newer(http_server(page_of("9.0.0")));
  for (const auto& [url, reason] : std::vector<std::pair<std::string, std::string>>{
           {"http://" + refusing.address(), "Connection refused"},
           {"unix:/nowhere/admin.sock", "No such file or directory"},
           {"http://" + other.address(), "/peers/trust is not JSON"},
           {"http://" + newer.address(), "is sallyport 9.0.0, of another major version"}}) {
    const Finished finished = against(url);
    EXPECT_EQ(finished.status, 2) << url << finished.out;
    EXPECT_NE(finished.err.find("--against " + url + ": " + reason), std::string::npos)
        << finished.err;
  }
}

TEST_F(Rehearsal, OfAGatewayWithoutConnectionsIsGood) {
  discover({"127.0.0.1:9"});
  const Backend idle(http_server(page_of("0.1.0")));
  const std::string url = "http://" + idle.address();
  const Finished finished = against(url);
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_NE(finished.out.find("of 0 connections of " + url + " none would end\n"),
            std::string::npos)
      << finished.out;
}

TEST_F(Rehearsal, SaysWhichConnectionsOfARunningGatewayWouldEnd) {
  Backend backend{echo()};
  start_for(backend, {"--shards", "2"});
  std::vector<TlsClient> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(connect());
    ASSERT_TRUE(held.back().echo("x"));
  }
  const std::string url = "http://" + gateway->admin();

  const Finished same = against(url);
  EXPECT_EQ(same.status, 0) << same.err << same.out;
  const Finished other = against(url, {"--allow", "spiffe://example.org/ns/bank/**"});
  EXPECT_EQ(other.status, 4) << other.err << other.out;
  EXPECT_NE(
      other.out.find("not_authorized, route orders, " + std::string(kWeb) + ": 3 connections"),
      std::string::npos)
      << other.out;
}

TEST_F(Rehearsal, OfABadConfigurationIsTwoAsItsCheck) {
  discover({"127.0.0.1:9"});
  const Finished finished = against("unix:/nowhere/admin.sock", {"--ca", "/nowhere/ca.pem"});
  EXPECT_EQ(finished.status, 2);
  EXPECT_NE(finished.err.find("/nowhere/ca.pem"), std::string::npos) << finished.err;
  EXPECT_EQ(finished.err.find("admin.sock"), std::string::npos) << finished.err;
}

// By cause, route and identity.
using Ends = std::map<std::tuple<std::string, std::string, std::string>, int>;

/// A gateway with connections that each lose something by the same change.
class RehearsedChange : public Rehearsal {
 protected:
  void start_before_change(std::vector<std::string> given = {}) {
    write_files("before", root.cert_pem() + other.cert_pem(), lists({}, {}),
                R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/**", "dns:*.example.org"]},
      "billing": {"sni": ["billing.example.org"], "allow-any-verified": true}}})");
    std::filesystem::create_directory_symlink("before", dir / "now");
    discover({{{backend.address()}, {{"route", "orders"}}},
              {{backend.address()}, {{"route", "billing"}}}});
    given.insert(given.end(), {"--end-spread", "0"});
    start(of("now", std::move(given)));
  }

  // The flags of the gateway, with the files of a directory.
  std::vector<std::string> of(const std::string& files, std::vector<std::string> given = {}) const {
    given.insert(given.end(), {"--ca", dir / files / "ca.pem", "--crl", dir / files / "crl.pem",
                               "--policy", dir / files / "policy.json"});
    return given;
  }
  void write_files(const std::string& where, const std::string& ca, const std::string& crl,
                   const std::string& policy) const {
    std::filesystem::create_directory(dir / where);
    dir.write(where + "/ca.pem", ca);
    dir.write(where + "/crl.pem", crl);
    dir.write(where + "/policy.json", policy);
  }
  std::string lists(const std::vector<std::uint64_t>& of_root,
                    const std::vector<std::uint64_t>& of_issuing) const {
    return root.crl(of_root) + other.crl() + issuing.crl(of_issuing) + withdrawn.crl();
  }

  void hold(const std::string& name, const TestCertificate& certificate,
            const std::string& route = "orders", int connections = 1) {
    for (int i = 0; i < connections; ++i) {
      ClientOptions options = as(certificate);
      options.sni = route + ".example.org";
      TlsClient& held = held_[name].emplace_back(connect(std::move(options)));
      ASSERT_TRUE(held.echo("hello")) << name;
    }
  }

  static Ends foretold(const Finished& finished, const std::string& what) {
    static const std::regex kLine("([a-z_]+), route ([a-z]+), (\\S+): ([0-9]+) connections?");
    Ends ends;
    for (std::size_t at = finished.out.find(what); at != std::string::npos;
         at = finished.out.find(what, at + 1)) {
      const std::string line = finished.out.substr(at, finished.out.find('\n', at) - at);
      std::smatch found;
      if (std::regex_search(line, found, kLine))
        ends[{found[1], found[2], found[3]}] += std::stoi(found[4]);
    }
    return ends;
  }
  Ends ended() const {
    Ends ends;
    for (const LogLine& line : gateway->connection_log())
      ++ends[{line.at("reason"), line.at("route"), line.at("identity")}];
    return ends;
  }

  void change_and_reload() {
    const double before = reloads("success");
    std::filesystem::create_directory_symlink("after", dir / "next");
    std::filesystem::rename(dir / "next", dir / "now");
    gateway->signal(SIGHUP);
    wait_reload("success", before);
  }

  TestCertificate named(const TestAuthority& by, const std::string& name,
                        std::chrono::seconds not_after = std::chrono::hours(24)) const {
    return by.issue({.spiffe = {"spiffe://example.org/" + name}, .not_after = not_after});
  }

  Backend backend{echo()};
  TestAuthority other{"Other Root"};
  TestAuthority issuing = root.intermediate("Issuing");
  TestAuthority withdrawn = root.intermediate("Withdrawn");
  std::map<std::string, std::vector<TlsClient>> held_;
};

TEST_F(RehearsedChange, EndsWhatWasForetoldForTheCauseThatWasForetold) {
  start_before_change({"--shards", "2", "--keep-live", "expired"});
  const TestCertificate revoked = named(root, "revoked");
  hold("stays", client, "orders", 3);
  hold("stays", named(issuing, "issued"));
  hold("stays", root.issue({.dns = {"job.example.org"}}));
  hold("revoked", revoked, "orders", 2);
  hold("its issuer is revoked", named(withdrawn, "withdrawn"));
  hold("untrusted", named(other, "other"));
  hold("not authorized", named(root, "bank/teller"));
  hold("not authorized", root.issue({.dns = {"old.example.org"}}));
  hold("route gone", client, "billing", 2);
  hold("two causes", named(other, "bank/robber"));
  hold("expired", named(root, "expired", std::chrono::seconds(5)));
  gateway->wait_metric("connections_kept", {{"cause", "expired"}}, 1);

  write_files("after", root.cert_pem(), lists({revoked.serial, withdrawn.certificate().serial}, {}),
              R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/ns/**",
                 "spiffe://example.org/*", "dns:job.example.org"]}}})");
  const std::string url = "http://" + gateway->admin();
  const Ends expected{
      {{"revoked", "orders", "spiffe://example.org/revoked"}, 2},
      {{"revoked", "orders", "spiffe://example.org/withdrawn"}, 1},
      {{"untrusted", "orders", "spiffe://example.org/other"}, 1},
      {{"untrusted", "orders", "spiffe://example.org/bank/robber"}, 1},
      {{"not_authorized", "orders", "spiffe://example.org/bank/teller"}, 1},
      {{"not_authorized", "orders", "dns:old.example.org"}, 1},
      {{"route_gone", "billing", kWeb}, 2},
  };
  const Ends expired{{{"expired", "orders", "spiffe://example.org/expired"}, 1}};

  const Finished kept = against(url, of("after", {"--keep-live", "expired"}));
  EXPECT_EQ(kept.status, 4) << kept.err << kept.out;
  EXPECT_EQ(foretold(kept, "would end: "), expected) << kept.out;
  EXPECT_EQ(foretold(kept, "would be kept: "), expired) << kept.out;
  const Finished ends = against(url, of("after"));
  Ends all = expected;
  all.insert(expired.begin(), expired.end());
  EXPECT_EQ(foretold(ends, "would end: "), all) << ends.out;
  EXPECT_NE(ends.out.find("of 15 connections of " + url + " 10 would end\n"), std::string::npos)
      << ends.out;
  EXPECT_EQ(ended(), Ends{}) << "a rehearsal changes nothing";

  change_and_reload();
  gateway->wait_logs(9);
  for (TlsClient& each : held_.at("stays")) EXPECT_TRUE(each.echo("still here"));
  EXPECT_TRUE(held_.at("expired").front().echo("still here"));
  EXPECT_EQ(ended(), expected);
  EXPECT_EQ(gateway->metrics().sum("connections"), 6);
  held_.clear();
}

// The list names an issuer whose certificate the new files do not have: the gateway knows its key.
TEST_F(RehearsedChange, ForetellsWhatAListOfAnIssuerThatOnlyClientsSendRevokes) {
  start_before_change({"--shards", "2"});
  const TestCertificate revoked = named(issuing, "revoked");
  hold("revoked", revoked);
  hold("stays", named(issuing, "stays"));
  write_files("after", root.cert_pem() + other.cert_pem(), lists({}, {revoked.serial}),
              R"({"routes": {"orders": {"allow-any-verified": true}}})");
  const Ends expected{{{"revoked", "orders", "spiffe://example.org/revoked"}, 1}};

  const Finished finished = against("http://" + gateway->admin(), of("after"));
  EXPECT_EQ(finished.status, 4) << finished.out;
  EXPECT_EQ(foretold(finished, "would end: "), expected) << finished.out;
  EXPECT_EQ(finished.err.find("crl_unavailable"), std::string::npos) << finished.err;

  change_and_reload();
  gateway->wait_log({{"reason", "revoked"}});
  EXPECT_TRUE(held_.at("stays").front().echo("still here"));
  EXPECT_EQ(ended(), expected);
  held_.clear();
}

// One with another address of its own answers under the same one: half of each is no inventory.
TEST_F(Rehearsal, OfAGatewayThatIsRestartedBetweenPagesIsPartial) {
  discover({"127.0.0.1:9"});
  std::atomic<int> asked = 0;
  const Backend restarted([&asked](Fd& socket) {
    std::string request;
    receive(socket, request, 1);
    const bool first = asked++ == 0;
    std::string page = page_of("0.1.0");
    if (first) page.replace(page.find("null"), 4, "7");
    if (!first) page.replace(page.find("000102"), 6, "ffffff");
    send_all(socket, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(page.size()) +
                         "\r\n\r\n" + page);
  });
  const std::string url = "http://" + restarted.address();
  const Finished finished = against(url);
  EXPECT_EQ(finished.status, 2) << finished.out;
  EXPECT_NE(finished.err.find("--against " + url + ": was restarted or replaced"),
            std::string::npos)
      << finished.err;
  EXPECT_EQ(asked, 2);
}

}  // namespace
}  // namespace sallyport::test
