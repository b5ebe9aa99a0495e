// --check --against: what a configuration would do to the connections of a running gateway.
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

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
  const Backend newer(
      http_server(R"({"version":1,"sallyport":"9.0.0","generation":1,"next":null,"peers":[]})"));
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
  const Backend idle(
      http_server(R"({"version":1,"sallyport":"0.1.0","generation":1,"next":null,"peers":[]})"));
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

}  // namespace
}  // namespace sallyport::test
