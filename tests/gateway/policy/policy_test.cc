#include "gateway/policy/policy.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "gateway/policy/authorize.h"
#include "ktls/trust/identity.h"

namespace sallyport::gateway {
namespace {

FlagRules allow(std::initializer_list<std::string_view> patterns) {
  FlagRules rules;
  for (const auto text : patterns) rules.allow.push_back(*IdentityPattern::parse(text));
  return rules;
}

Policy::Pointer parsed(std::string_view text) {
  auto policy = parse_policy(text, "p");
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? *policy : nullptr;
}

TEST(PolicyFromFlags, ASingleLabelTakesAnySniOrNone) {
  const std::vector<std::string> labels{"Any name: it is no SNI"};
  const auto policy = Policy::from_flags(allow({"dns:a.b.c"}), labels);
  ASSERT_TRUE(policy);
  ASSERT_EQ((*policy)->routes().size(), 1u);
  EXPECT_TRUE((*policy)->routes()[0].sni.empty());
  EXPECT_EQ((*policy)->routes()[0].allow.size(), 1u);
  EXPECT_EQ((*policy)->without_sni().without_alpn, &(*policy)->routes()[0]);
}

TEST(PolicyFromFlags, OfSeveralEachTakesTheSniOfItsName) {
  const std::vector<std::string> labels{"orders", "Users.example_org"};
  const auto policy = Policy::from_flags({.allow = {}, .allow_any_verified = true}, labels);
  ASSERT_TRUE(policy);
  EXPECT_EQ((*policy)->routes()[1].name, "Users.example_org");
  EXPECT_EQ((*policy)->routes()[1].sni, std::vector<std::string>{"users.example_org"});
  EXPECT_TRUE((*policy)->routes()[1].allow_any_verified);
  EXPECT_NE((*policy)->exact("orders"), nullptr);
}

TEST(PolicyFromFlags, OfSeveralNoneMayBeOtherThanAHostName) {
  for (const std::vector<std::string>& labels :
       {std::vector<std::string>{"orders", "no name"}, {"10.0.0.1", "orders"}, {"a", "*.b"}}) {
    const auto policy = Policy::from_flags(allow({"dns:a.b.c"}), labels, "d.json");
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().file, "d.json");
    EXPECT_NE(policy.error().what.find("no host name"), std::string::npos);
  }
  const std::vector<std::string> twins{"orders", "Orders"};
  const auto policy = Policy::from_flags(allow({"dns:a.b.c"}), twins, "d.json");
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().to_string(), "d.json: route 'Orders': route 'orders' takes it already");
}

TEST(PolicyFromFlags, GivesEveryRouteTheProtocolsAndTheTruncation) {
  FlagRules rules = allow({"dns:a.b.c"});
  rules.alpn = {"h2", "postgresql"};
  rules.truncation = Truncation::kClose;
  const std::vector<std::string> labels{"orders", "users"};
  const auto policy = Policy::from_flags(rules, labels).value();
  for (const Route& route : policy->routes()) {
    EXPECT_EQ(route.alpn, *rules.alpn);
    EXPECT_TRUE(route.takes_no_offer);
    EXPECT_EQ(route.truncation, Truncation::kClose);
  }
}

TEST(PolicyFromFlags, WithoutLabelsThereIsNoRoute) {
  const auto policy = Policy::from_flags(allow({"dns:a.b.c"}), {});
  ASSERT_TRUE(policy);
  EXPECT_TRUE((*policy)->routes().empty());
}

TEST(Policy, NamesTheTrustDomainsOfItsRules) {
  const auto policy = parsed(R"({"routes": {
      "a": {"sni": ["a"], "allow": ["spiffe://two/**", "spiffe://one/a", "dns:three.x"]},
      "b": {"sni": ["b"], "allow": ["spiffe://ONE/**"]}}})");
  EXPECT_EQ(policy->trust_domains(), (std::vector<std::string>{"one", "two"}));
}

TEST(Authorize, NamesTheRuleThatComesNearest) {
  const auto policy = parsed(R"({"routes": {
      "a": {"sni": ["a"], "allow": ["spiffe://td/x/web", "spiffe://td/ns/shop/api",
                                    "spiffe://td/ns/bank/*", "dns:*.b.c"]}}})");
  const auto why = [&](std::string spiffe, std::vector<std::string> dns = {}) {
    return why_not_authorized(*policy->find("a"),
                              {.spiffe = std::move(spiffe), .dns = std::move(dns)});
  };
  const std::string none = "no rule of route 'a' matches";
  EXPECT_EQ(why("spiffe://td/ns/shop/web"), none + "; the nearest is spiffe://td/ns/shop/api");
  EXPECT_EQ(why("spiffe://td/y"), none + "; the nearest is spiffe://td/x/web") << "the first";
  EXPECT_EQ(why("", {"b.c"}), none + "; the nearest is dns:*.b.c");
  EXPECT_EQ(why("spiffe://other/x/web", {"x.d"}), none);
}

TEST(Authorize, AdmitsOnlyPeersThatAPatternMatches) {
  const auto policy = parsed(R"({"routes": {
      "a": {"sni": ["a"], "allow": ["spiffe://td/a", "dns:*.b.c"]},
      "any": {"allow-any-verified": true}}})");
  const Route& some = *policy->find("a");
  const Route& any = *policy->find("any");
  const ktls::PeerIdentity unnamed;
  EXPECT_TRUE(authorize(some, {.spiffe = "spiffe://td/a", .dns = {}}));
  EXPECT_TRUE(authorize(some, {.spiffe = "spiffe://td/x", .dns = {"a.b.c"}}));
  EXPECT_FALSE(authorize(some, {.spiffe = "spiffe://td/x", .dns = {"b.c"}}));
  EXPECT_FALSE(authorize(some, unnamed));
  EXPECT_TRUE(authorize(any, unnamed)) << "a verified certificate without a usable SAN";
}

}  // namespace
}  // namespace sallyport::gateway
