#include "gateway/backends/expected_backend.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ktls/trust/identity.h"

namespace sallyport::gateway {
namespace {

constexpr char kTarget[] = "orders.mesh.internal:8443";
constexpr char kOrders[] = "spiffe://example.org/orders";
constexpr char kBilling[] = "spiffe://example.org/billing";

BackendTls verifies(const std::vector<std::string>& patterns) {
  BackendTls rule;
  for (const std::string& each : patterns)
    rule.verify.push_back(IdentityPattern::parse(each).value());
  return rule;
}

bool accepts(const ExpectedBackend& expected, const ktls::PeerIdentity& server) {
  return !expected.refuse(server);
}
bool accepts(const BackendTls& rule, const GroupLabels& labels, const ktls::PeerIdentity& server,
             const std::string& target = kTarget) {
  const auto expected = ExpectedBackend::of(rule, labels, target);
  EXPECT_TRUE(expected) << expected.error();
  return expected && accepts(*expected, server);
}
std::string error_of(const BackendTls& rule, const GroupLabels& labels, const std::string& target) {
  const auto expected = ExpectedBackend::of(rule, labels, target);
  return expected ? "" : expected.error();
}

TEST(ExpectedBackend, MatchesOneOfThePatternsOfItsRoute) {
  const BackendTls rule = verifies({kOrders, "dns:*.mesh.internal"});
  EXPECT_TRUE(accepts(rule, {}, {.spiffe = kOrders, .dns = {}}));
  EXPECT_TRUE(accepts(rule, {}, {.spiffe = {}, .dns = {"b.mesh.internal"}}));
  EXPECT_FALSE(accepts(rule, {}, {.spiffe = kBilling, .dns = {"mesh.internal"}}));
  EXPECT_FALSE(accepts(rule, {}, {})) << "a certificate without a name";
}

// A recycled address answers with another workload's certificate, which the pattern would take.
TEST(ExpectedBackend, IsNarrowedByTheIdOfItsEndpoint) {
  const BackendTls rule = verifies({"spiffe://example.org/**"});
  const GroupLabels labels{.tls_id = kOrders};
  EXPECT_TRUE(accepts(rule, labels, {.spiffe = kOrders, .dns = {}}));
  EXPECT_FALSE(accepts(rule, labels, {.spiffe = kBilling, .dns = {}}));
}

TEST(ExpectedBackend, IsNarrowedByTheNameOfItsEndpointWhereThatHasNoId) {
  const BackendTls rule = verifies({"dns:*.mesh.internal"});
  const GroupLabels labels{.tls_name = "a.mesh.internal"};
  EXPECT_TRUE(accepts(rule, labels, {.spiffe = {}, .dns = {"a.mesh.internal"}}));
  EXPECT_FALSE(accepts(rule, labels, {.spiffe = {}, .dns = {"b.mesh.internal"}}));
  const GroupLabels both{.tls_name = "a.mesh.internal", .tls_id = "dns:b.mesh.internal"};
  EXPECT_TRUE(accepts(rule, both, {.spiffe = {}, .dns = {"b.mesh.internal"}}));
}

TEST(ExpectedBackend, HasNoIdThatItsRouteDoesNotAllow) {
  const BackendTls rule = verifies({kOrders});
  EXPECT_NE(error_of(rule, {.tls_id = kBilling}, kTarget), "");
  // Nor does a certificate with both help.
  EXPECT_FALSE(accepts(rule, {.tls_name = "a.mesh.internal"},
                       {.spiffe = kBilling, .dns = {"a.mesh.internal"}}));
}

TEST(ExpectedBackend, IsWhoTheEndpointSaysWhereItsRouteLeavesItToThat) {
  const BackendTls rule;
  EXPECT_TRUE(accepts(rule, {}, {.spiffe = {}, .dns = {"orders.mesh.internal"}}));
  EXPECT_FALSE(accepts(rule, {}, {.spiffe = kOrders, .dns = {"other.mesh.internal"}}));
  const GroupLabels named{.tls_name = "name.mesh.internal"};
  EXPECT_TRUE(accepts(rule, named, {.spiffe = {}, .dns = {"name.mesh.internal"}}));
  EXPECT_FALSE(accepts(rule, named, {.spiffe = {}, .dns = {"orders.mesh.internal"}}));
  const GroupLabels with_id{.tls_name = "name.mesh.internal", .tls_id = kOrders};
  EXPECT_TRUE(accepts(rule, with_id, {.spiffe = kOrders, .dns = {}}));
  EXPECT_FALSE(accepts(rule, with_id, {.spiffe = {}, .dns = {"name.mesh.internal"}}));
}

TEST(ExpectedBackend, IsNeverNobody) {
  for (const std::string target : {"10.0.0.1:443", "[::1]:443", "unix:/run/orders.sock"}) {
    EXPECT_NE(error_of({}, {}, target), "") << target;
    EXPECT_NE(error_of({}, {.tls_name = "10.0.0.1"}, target), "") << target;
    EXPECT_TRUE(accepts({}, {.tls_id = kOrders}, {.spiffe = kOrders, .dns = {}}, target));
  }
}

TEST(ExpectedBackend, IsAskedForByTheNameOfTheRouteElseOfTheEndpointElseOfTheTarget) {
  BackendTls rule = verifies({"dns:*.mesh.internal"});
  const GroupLabels named{.tls_name = "name.mesh.internal"};
  EXPECT_EQ(ExpectedBackend::of(rule, {}, "10.0.0.1:443")->server_name(), "");
  EXPECT_EQ(ExpectedBackend::of(rule, {}, kTarget)->server_name(), "orders.mesh.internal");
  EXPECT_EQ(ExpectedBackend::of(rule, named, kTarget)->server_name(), "name.mesh.internal");
  rule.sni = "route.mesh.internal";
  EXPECT_EQ(ExpectedBackend::of(rule, named, kTarget)->server_name(), "route.mesh.internal");
}

TEST(ExpectedBackend, SaysBothNames) {
  const auto expected = ExpectedBackend::of(verifies({kOrders}), {}, kTarget);
  EXPECT_EQ(*expected->refuse({.spiffe = kBilling, .dns = {}}),
            std::string("is ") + kBilling + ", none of " + kOrders);
}

}  // namespace
}  // namespace sallyport::gateway
