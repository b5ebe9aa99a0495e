#include "gateway/backends/endpoint_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gateway/backends/discovery_update.h"
#include "gateway/policy/policy.h"
#include "tests/gateway/backends/discovery_text.h"

namespace sallyport::gateway {
namespace {

Policy::Pointer policy_that_verifies(const std::string& verify) {
  return parse_policy(
             "{\"routes\": {\"r\": {\"allow-any-verified\": true, \"backend-tls\": "
             "{\"verify\": " +
                 verify + "}}}}",
             "p.json")
      .value();
}

Discovery group(const std::string& target, const std::string& label = "") {
  return parsed("[{\"labels\": {\"route\": \"r\"" + (label.empty() ? "" : ", " + label) +
                "}, \"targets\": [\"" + target + "\"]}]");
}

Discovery judged(Discovery discovery, const std::string& verify) {
  judge_identities(discovery, *policy_that_verifies(verify));
  return discovery;
}

TEST(EndpointIdentity, IsWhatTheDiscoveryFileSaysOfTheEndpoint) {
  const std::string verify = "\"endpoint\"";
  EXPECT_FALSE(judged(group("a.test:1"), verify).routes[0].refused);
  EXPECT_FALSE(judged(group("10.0.0.1:1", R"("tls_name": "a.test")"), verify).routes[0].refused);
  EXPECT_FALSE(judged(group("[::1]:1", R"("tls_id": "spiffe://d/a")"), verify).routes[0].refused);
  for (const char* target : {"10.0.0.1:1", "[::1]:1", "unix:/run/a.sock"}) {
    const Discovery refused = judged(group(target), verify);
    ASSERT_TRUE(refused.routes[0].refused) << target;
    EXPECT_TRUE(refused.routes[0].targets.empty());
    EXPECT_EQ(refused.routes[0].refused->to_string(),
              "d.json:1: route 'r': '" + std::string(target) +
                  "' has no tls_id, tls_name or host name that it could prove: its route has "
                  "\"verify\": \"endpoint\"");
  }
  const Discovery no_host = judged(group("a_b.test:1"), verify);
  ASSERT_TRUE(no_host.routes[0].refused) << "no certificate is for such a name";
  EXPECT_THAT(no_host.routes[0].refused->to_string(),
              ::testing::HasSubstr("'a_b.test:1' cannot prove to be dns:a_b.test: "));
}

TEST(EndpointIdentity, IsNarrowedWithinThePatternsOnly) {
  const std::string verify = R"(["spiffe://d/ns/*", "dns:*.a.test"])";
  EXPECT_EQ(judged(group("10.0.0.1:1"), verify).routes[0].targets.size(), 1u);
  for (const char* id : {"spiffe://d/ns/a", "dns:b.a.test"}) {
    const std::string label = "\"tls_id\": \"" + std::string(id) + "\"";
    EXPECT_EQ(judged(group("10.0.0.1:1", label), verify).routes[0].targets.size(), 1u) << id;
  }
  const Discovery other = judged(group("10.0.0.1:1", R"("tls_id": "spiffe://d/ns/a/b")"), verify);
  EXPECT_FALSE(other.routes[0].refused) << "its other endpoints are good";
  EXPECT_TRUE(other.routes[0].targets.empty());
  ASSERT_EQ(other.warnings.size(), 1u);
  EXPECT_EQ(other.warnings[0].to_string(),
            "d.json:1: route 'r': '10.0.0.1:1' has a tls_id that \"verify\" does not have: "
            "spiffe://d/ns/a/b: it is left out");
}

TEST(EndpointIdentity, IsNotAskedForByRoutesInPlaintext) {
  Discovery discovery = group("10.0.0.1:1");
  judge_identities(
      discovery, *parse_policy(R"({"routes": {"r": {"allow-any-verified": true}}})", "p").value());
  EXPECT_FALSE(discovery.routes[0].refused);
}

TEST(EndpointIdentity, IsJudgedAtEachUpdateAndTheLastGoodEndpointsStay) {
  const Policy::Pointer policy = policy_that_verifies("\"endpoint\"");
  const Discovery before = group("a.test:1");
  const Discovery after = update_discovery(&before, group("10.0.0.1:1"), {.policy = policy.get()});

  ASSERT_TRUE(after.routes[0].refused);
  EXPECT_EQ(after.routes[0].targets, before.routes[0].targets);
}

}  // namespace
}  // namespace sallyport::gateway
