// The policy file changes while connections live: as with discovery, all of it or nothing.
#include <filesystem>
#include <ostream>
#include <regex>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

constexpr char kShop[] =
    R"({"routes": {"orders": {"allow": ["spiffe://example.org/ns/shop/**"]}}})";
constexpr char kBank[] =
    R"({"routes": {"orders": {"allow": ["spiffe://example.org/ns/bank/**"]}}})";

class PolicyReload : public Scenario {
 protected:
  Backend backend{echo()};

  void start_with(const std::string& policy) {
    start_for(backend, {"--policy", dir.replace("policy.json", policy)});
  }
};

TEST_F(PolicyReload, JudgesNewConnectionsAndLiveOnes) {
  start_with(kShop);
  TlsClient live = connect();
  ASSERT_TRUE(live.echo("hello"));
  const double before = reloads("success");
  dir.replace("policy.json", kBank);
  wait_reload("success", before);
  expect_refused(as(client), "not_authorized", kAccessDenied);
  live.receive_all();
  EXPECT_EQ(live.alert(), kAccessDenied);
  EXPECT_TRUE(served(as(root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/x"}}))));
}

TEST_F(PolicyReload, FollowsAHangup) {
  start_with(kShop);
  const double before = reloads("success");
  dir.write("policy.json", kBank);
  gateway->signal(SIGHUP);
  wait_reload("success", before);
  expect_refused(as(client), "not_authorized", kAccessDenied);
}

TEST_F(PolicyReload, KeepsThePolicyOfADeletedFile) {
  start_with(kBank);
  const double before = reloads("failure");
  std::filesystem::remove(dir / "policy.json");
  wait_reload("failure", before);
  expect_refused(as(client), "not_authorized", kAccessDenied);
}

struct BrokenPolicyFile {
  const char* name;
  std::string content;
  const char* named_in_error;  ///< the key or value that the log line must name beside the place
  friend void PrintTo(const BrokenPolicyFile& file, std::ostream* out) { *out << file.name; }
};

class BrokenPolicy : public PolicyReload, public ::testing::WithParamInterface<BrokenPolicyFile> {};

TEST_P(BrokenPolicy, LeavesTheLastGoodStateAndNamesThePlace) {
  start_with(kShop);
  TlsClient live = connect();
  ASSERT_TRUE(live.echo("hello"));
  const double failures = reloads("failure");
  const std::size_t from = gateway->err_size();
  dir.replace("policy.json", GetParam().content);
  wait_reload("failure", failures);
  const std::string line = gateway->wait_err({"policy.json", GetParam().named_in_error}, from);
  EXPECT_TRUE(is_json(line)) << line;
  EXPECT_TRUE(std::regex_search(line, std::regex("policy.json:[1-9][0-9]*:"))) << line;
  EXPECT_TRUE(served());
  EXPECT_TRUE(live.echo("still here"));
  const double before = reloads("success");
  dir.replace("policy.json", kBank);
  wait_reload("success", before);
  expect_refused(as(client), "not_authorized", kAccessDenied);
}

// The same files stop a start and a --check, with exit code 2.
TEST_P(BrokenPolicy, IsRefusedAtTheStart) {
  discover({backend.address()});
  dir.replace("policy.json", GetParam().content);
  const Finished finished = run_sallyport(flags({"--check", "--policy", dir / "policy.json"}));
  EXPECT_EQ(finished.status, 2);
  EXPECT_NE(finished.err.find("policy.json"), std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find(GetParam().named_in_error), std::string::npos) << finished.err;
}

std::vector<BrokenPolicyFile> broken_policies() {
  const auto route = [](const std::string& body) {
    return "{\"routes\": {\n  \"orders\": {" + body + "}}}";
  };
  const std::string allow = R"("allow": ["spiffe://example.org/**"])";
  return {
      {"Truncated", "{\"routes\": {\"orders\": {\n\"allow\"", ""},
      {"Empty", "", ""},
      {"UnknownKey", route(allow + ", \"alow\": []"), "alow"},
      {"DuplicateKey", route(allow + ", " + allow), "allow"},
      {"DuplicateRoute", "{\"routes\": {\"orders\": {" + allow + "}, \"orders\": {" + allow + "}}}",
       "orders"},
      {"NeitherAllowNorAny", route("\"balance\": \"round-robin\""), "orders"},
      {"EmptyAllow", route("\"allow\": []"), "allow"},
      {"Both", route(allow + ", \"allow-any-verified\": true"), "allow-any-verified"},
      {"CoveredPattern",
       route("\"allow\": [\"spiffe://example.org/a/*\","
             " \"spiffe://example.org/a/b\"]"),
       "routes.orders.allow[1]"},
      {"WildcardTrustDomain", route("\"allow\": [\"spiffe://*/a\"]"), "allow"},
      {"TwoWithoutSni", "{\"routes\": {\"a\": {" + allow + "},\n \"b\": {" + allow + "}}}", "b"},
      {"SameSniTwice",
       "{\"routes\": {\"a\": {\"sni\": [\"x.example.org\"], " + allow +
           "},\n \"b\": {\"sni\": [\"X.example.org\"], " + allow + "}}}",
       "b"},
      {"NotUtf8", route("\"sni\": [\"\xff\"], " + allow), ""},
      {"BadBalance", route(allow + ", \"balance\": \"random\""), "balance"},
      {"HealthWithoutType", route(allow + ", \"health\": {}"), "is missing"},
      {"UnknownProxyVersion", route(allow + ", \"proxy-protocol\": \"v1\""), "proxy-protocol"},
      {"BackendTlsWithoutVerify", route(allow + ", \"backend-tls\": {}"), "is missing"},
      {"WarmWithoutMax", route(allow + ", \"warm\": {}"), "of at least 1"},
  };
}

INSTANTIATE_TEST_SUITE_P(Files, BrokenPolicy, ::testing::ValuesIn(broken_policies()),
                         [](const auto& file) { return std::string(file.param.name); });

}  // namespace
}  // namespace sallyport::test
