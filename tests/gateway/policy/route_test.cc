#include "gateway/policy/route.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sallyport::gateway {
namespace {

// Routes by name as "sni,sni|alpn,alpn", in order.
Policy::Pointer policy_of(
    std::initializer_list<
        std::tuple<const char*, std::vector<std::string>, std::vector<std::string>>>
        routes) {
  std::vector<Route> made;
  for (const auto& [name, sni, alpn] : routes) {
    Route& route = made.emplace_back();
    route.name = name;
    route.sni = sni;
    route.alpn = alpn;
    route.allow_any_verified = true;
  }
  auto policy = Policy::build(std::move(made));
  EXPECT_TRUE(policy) << policy.error().what;
  return policy ? *policy : nullptr;
}

// "route", "route+alpn", or the refusal.
std::string chosen(const Policy::Pointer& policy, std::string_view sni,
                   std::vector<std::string_view> offers = {}) {
  const auto choice = choose(*policy, sni, offers);
  if (!choice) return choice.error() == ktls::HandshakeResult::kNoRoute ? "no_route" : "no_alpn";
  std::string result = choice->route->name;
  if (!choice->alpn.empty()) result += "+" + std::string(choice->alpn);
  return result;
}

TEST(Choose, ExactBeatsWildcardBeatsTheRouteWithoutSni) {
  const auto policy = policy_of(
      {{"rest", {}, {}}, {"wild", {"*.example.org"}, {}}, {"exact", {"a.example.org"}, {}}});
  EXPECT_EQ(chosen(policy, "a.example.org"), "exact");
  EXPECT_EQ(chosen(policy, "b.example.org"), "wild");
  EXPECT_EQ(chosen(policy, "c.b.example.org"), "rest") << "`*` is one label";
  EXPECT_EQ(chosen(policy, "example.org"), "rest");
  EXPECT_EQ(chosen(policy, ".example.org"), "rest") << "an empty label is none";
  EXPECT_EQ(chosen(policy, ""), "rest");
}

TEST(Choose, TakesTheNameInLowerCaseAndWithoutOneTrailingDot) {
  const auto policy = policy_of({{"exact", {"a.example.org"}, {}}, {"wild", {"*.x.org"}, {}}});
  EXPECT_EQ(chosen(policy, "A.Example.ORG"), "exact");
  EXPECT_EQ(chosen(policy, "a.example.org."), "exact");
  EXPECT_EQ(chosen(policy, "B.x.ORG."), "wild");
  EXPECT_EQ(chosen(policy, "a.example.org.."), "no_route");
}

TEST(Choose, CountsAnIpLiteralAsNoName) {
  const auto policy = policy_of({{"rest", {}, {}}, {"wild", {"*.0.0.1"}, {}}});
  for (const char* literal : {"10.0.0.1", "10.0.0.1.", "::1", "2001:DB8::1", "[::1]"}) {
    EXPECT_EQ(chosen(policy, literal), "rest") << literal;
  }
  const auto named_only = policy_of({{"wild", {"*.0.0.1"}, {}}});
  EXPECT_EQ(chosen(named_only, "10.0.0.1"), "no_route");
}

TEST(Choose, RefusesUnknownNames) {
  const auto policy = policy_of({{"exact", {"a.example.org"}, {}}});
  EXPECT_EQ(chosen(policy, "b.example.org"), "no_route");
  EXPECT_EQ(chosen(policy, ""), "no_route");
  EXPECT_EQ(chosen(policy, std::string(10'000, 'a')), "no_route");
  EXPECT_EQ(chosen(policy, std::string_view("a.example.org\0", 14)), "no_route");
  EXPECT_EQ(chosen(policy_of({}), "a"), "no_route");
}

TEST(Choose, ASharedProtocolBeatsTheRouteWithoutAlpn) {
  const auto policy = policy_of({{"plain", {"a.b"}, {}}, {"web", {"a.b"}, {"h2", "http/1.1"}}});
  EXPECT_EQ(chosen(policy, "a.b", {"h2"}), "web+h2");
  EXPECT_EQ(chosen(policy, "a.b", {"http/1.1", "h2"}), "web+h2") << "our order";
  EXPECT_EQ(chosen(policy, "a.b", {"x", "http/1.1"}), "web+http/1.1");
  EXPECT_EQ(chosen(policy, "a.b", {"x"}), "plain");
  EXPECT_EQ(chosen(policy, "a.b"), "plain") << "the client offered none";
}

TEST(Choose, TheEarlierRouteOfTheFileWinsAmongProtocols) {
  const auto policy = policy_of({{"one", {"a.b"}, {"x"}}, {"two", {"a.b"}, {"h2"}}});
  EXPECT_EQ(chosen(policy, "a.b", {"h2", "x"}), "one+x");
  EXPECT_EQ(chosen(policy, "a.b", {"h2"}), "two+h2");
}

TEST(Choose, SaysWhenOnlyTheProtocolIsMissing) {
  const auto policy = policy_of({{"rest", {}, {}}, {"web", {"a.b"}, {"h2"}}});
  EXPECT_EQ(chosen(policy, "a.b", {"http/1.1"}), "no_alpn");
  EXPECT_EQ(chosen(policy, "a.b"), "no_alpn") << "only routes with alpn fit the name";
  EXPECT_EQ(chosen(policy, "c.d", {"http/1.1"}), "rest");
}

TEST(Choose, LooksAtTheBestLevelOnly) {
  const auto policy =
      policy_of({{"rest", {}, {"h2"}}, {"wild", {"*.b"}, {}}, {"exact", {"a.b"}, {"x"}}});
  EXPECT_EQ(chosen(policy, "a.b", {"h2"}), "no_alpn");
  EXPECT_EQ(chosen(policy, "c.b", {"h2"}), "wild");
  EXPECT_EQ(chosen(policy, "c.d", {"h2"}), "rest+h2");
  EXPECT_EQ(chosen(policy, "c.d"), "no_alpn");
}

TEST(Choose, GivesPointersIntoThePolicy) {
  const auto policy = policy_of({{"web", {"a.b"}, {"h2"}}});
  const std::string offered = "h2";
  const std::vector<std::string_view> offers{offered};
  const auto choice = choose(*policy, "a.b", offers);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->route, &policy->routes()[0]);
  EXPECT_EQ(choice->alpn.data(), policy->routes()[0].alpn[0].data());
}

// As --alpn has it without a policy file.
TEST(Choose, OfARouteOfFlagsRefusesOtherOffersAndServesNone) {
  FlagRules rules{.allow = {}, .allow_any_verified = true};
  rules.alpn = {"h2", "postgresql"};
  const std::vector<std::string> labels{"orders"};
  const auto policy = Policy::from_flags(rules, labels).value();
  EXPECT_EQ(chosen(policy, "any.example.org", {"http/1.1", "postgresql", "h2"}), "orders+h2");
  EXPECT_EQ(chosen(policy, "", {"postgresql"}), "orders+postgresql");
  EXPECT_EQ(chosen(policy, "", {"smtp"}), "no_alpn");
  EXPECT_EQ(chosen(policy, ""), "orders");

  rules.alpn->clear();
  const auto silent = Policy::from_flags(rules, labels).value();
  EXPECT_EQ(chosen(silent, "", {"h2"}), "no_alpn");
  EXPECT_EQ(chosen(silent, ""), "orders");
}

TEST(Choose, TakesAnEmptyListOfProtocolsForThoseThatOfferNone) {
  const auto policy = parse_policy(R"({"routes": {
      "plain": {"sni": ["a.org"], "alpn": [], "allow-any-verified": true},
      "h2": {"sni": ["a.org"], "alpn": ["h2"], "allow-any-verified": true},
      "mute": {"sni": ["b.org"], "alpn": [], "allow-any-verified": true},
      "rest": {"sni": ["b.org"], "allow-any-verified": true}}})",
                                   "p")
                          .value();
  EXPECT_EQ(chosen(policy, "a.org"), "plain");
  EXPECT_EQ(chosen(policy, "a.org", {"h2"}), "h2+h2");
  EXPECT_EQ(chosen(policy, "a.org", {"http/1.1"}), "no_alpn");
  EXPECT_EQ(chosen(policy, "b.org"), "mute");
  EXPECT_EQ(chosen(policy, "b.org", {"http/1.1"}), "rest");
}

}  // namespace
}  // namespace sallyport::gateway
