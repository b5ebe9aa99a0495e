// The policy file as people write it, and every mistake in it with file, line and key.

#include <gtest/gtest.h>

#include <string>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {
namespace {

std::string policy_error(std::string_view text) {
  const auto parsed = parse_policy(text, "p.json");
  return parsed ? "no error" : parsed.error().to_string();
}

// A file with one route of these members, each on its own line from line 2 on.
std::string route_error(const std::string& members) {
  return policy_error("{\"routes\": {\"orders\": {\n" + members + "}}}");
}

constexpr std::string_view kAllow = "\"allow\": [\"dns:a.b.c\"]";

TEST(PolicyFile, ReadsTheExampleOfTheContract) {
  const auto policy = parse_policy(R"({"routes": {
    "orders": {"sni": ["Orders.example.org.", "*.orders.example.org"], "alpn": ["h2", "http/1.1"],
               "allow": ["spiffe://Example.org/ns/shop/sa/*", "dns:a.b.c"],
               "balance": "least-connections", "truncation": "close"},
    "rest": {"allow-any-verified": true}}})",
                                   "p.json");
  ASSERT_TRUE(policy) << policy.error().to_string();
  ASSERT_EQ((*policy)->routes().size(), 2u);
  const Route& orders = (*policy)->routes()[0];
  EXPECT_EQ(orders.name, "orders");
  EXPECT_EQ(orders.sni, (std::vector<std::string>{"orders.example.org", "*.orders.example.org"}));
  EXPECT_EQ(orders.alpn, (std::vector<std::string>{"h2", "http/1.1"}));
  ASSERT_EQ(orders.allow.size(), 2u);
  EXPECT_EQ(orders.allow[0].text(), "spiffe://example.org/ns/shop/sa/*");
  EXPECT_EQ(orders.balance, Balance::kLeastConnections);
  EXPECT_EQ(orders.truncation, Truncation::kClose);
  EXPECT_FALSE(orders.allow_any_verified);
  const Route& rest = (*policy)->routes()[1];
  EXPECT_TRUE(rest.allow_any_verified);
  EXPECT_EQ(rest.balance, Balance::kRoundRobin);
  EXPECT_EQ(rest.truncation, Truncation::kReset);
  EXPECT_EQ((*policy)->find("rest"), &rest);
  EXPECT_EQ((*policy)->find("other"), nullptr);
  EXPECT_EQ((*policy)->trust_domains(), std::vector<std::string>{"example.org"});
}

TEST(PolicyFile, ReadsEveryWordOfBalanceAndTruncation) {
  for (const Balance balance : {Balance::kRoundRobin, Balance::kLeastConnections,
                                Balance::kPowerOfTwo, Balance::kHashIdentity}) {
    const auto policy = parse_policy(
        "{\"routes\": {\"a\": {\"allow-any-verified\": true, "
        "\"balance\": \"" +
            std::string(to_string(balance)) + "\"}}}",
        "p");
    ASSERT_TRUE(policy);
    EXPECT_EQ((*policy)->routes()[0].balance, balance);
  }
  EXPECT_EQ(route_error("\"balance\": \"random\""),
            "p.json:2: routes.orders.balance: must be one of round-robin, least-connections, "
            "power-of-two, hash-identity");
  EXPECT_EQ(route_error("\"truncation\": 1"),
            "p.json:2: routes.orders.truncation: must be one of reset, close");
}

TEST(PolicyFile, RefusesOtherShapes) {
  EXPECT_EQ(policy_error(""), "p.json:1: the file is empty");
  EXPECT_EQ(policy_error("[]"), "p.json:1: must be an object with \"routes\", not an array");
  EXPECT_EQ(policy_error("{}"), "p.json:1: \"routes\" is missing");
  EXPECT_EQ(policy_error("{\"routes\": {}}"), "p.json:1: routes: names no route");
  EXPECT_EQ(policy_error("{\"routes\": []}"), "p.json:1: routes: must be an object, not an array");
  EXPECT_EQ(policy_error("{\"routes\":\n{\"a\": 1}}"),
            "p.json:2: routes.a: must be an object, not a number");
  EXPECT_EQ(policy_error("{\"routes\": {\"\": {\"allow-any-verified\": true}}}"),
            "p.json:1: routes.: a route's name has 1 to 255 bytes and no control characters");
}

TEST(PolicyFile, TellsTheErrorOfEachRoute) {
  EXPECT_EQ(
      policy_error("{\"routes\": {\"a\": {\"alow\": 1},\n\"b\": {\"allow\": [\"dns:x.y\"]},\n"
                   "\"c\": {}}}"),
      "p.json:1: routes.a.alow: unknown key; did you mean 'allow'?; p.json:3: routes.c: needs "
      "\"allow\" or \"allow-any-verified\": true");
  std::string many = "{\"routes\": {\"r\": {}";
  for (int i = 1; i <= 11; ++i) many += ", \"r" + std::to_string(i) + "\": {}";
  const std::string error = policy_error(many + "}}");
  EXPECT_TRUE(error.ends_with("; and 2 more routes are wrong")) << error;
}

TEST(PolicyFile, RefusesUnknownAndDuplicateKeys) {
  EXPECT_EQ(policy_error("{\n\"route\": {}}"),
            "p.json:2: route: unknown key; did you mean 'routes'?");
  EXPECT_EQ(policy_error("{\"routes\": {\"a\": {\"allow-any-verified\": true}},\n\"x\": 1}"),
            "p.json:2: x: unknown key");
  EXPECT_EQ(route_error(std::string(kAllow) + ",\n\"alow\": []"),
            "p.json:3: routes.orders.alow: unknown key; did you mean 'allow'?");
  EXPECT_EQ(route_error("\"sni\": [\"a.b\"],\n\"sni\": [\"a.b\"]"),
            "p.json:3: routes.orders.sni: duplicate key, already given on line 2");
  EXPECT_EQ(policy_error("{\"routes\": {\"a\": {},\n\"a\": {}}}"),
            "p.json:2: routes.a: duplicate key, already given on line 1");
}

TEST(PolicyFile, KeepsClientsFromARouteOfApplications) {
  constexpr char kEgress[] = R"("egress": true, "backend-tls": {"verify": ["dns:a.b"]})";
  const auto policy = parse_policy(std::string("{\"routes\": {\"orders\": {") + kEgress +
                                       "}, \"users\": {" + std::string(kAllow) + "}}}",
                                   "p.json");
  ASSERT_TRUE(policy) << policy.error().to_string();
  EXPECT_TRUE((*policy)->find("orders")->egress);
  EXPECT_EQ((*policy)->without_sni().without_alpn, (*policy)->find("users"));

  const std::string keys[] = {"\"sni\": [\"a.b\"]", "\"alpn\": [\"h2\"]", std::string(kAllow),
                              "\"allow-any-verified\": false"};
  for (const std::string& key : keys) {
    const std::string name = key.substr(1, key.find('"', 1) - 1);
    EXPECT_EQ(route_error(std::string(kEgress) + ",\n" + key),
              "p.json:3: routes.orders." + name +
                  ": is for clients of a --listen, and none reaches a route with \"egress\"");
  }
  EXPECT_EQ(route_error("\"egress\": true"),
            "p.json:1: routes.orders: \"egress\" needs \"backend-tls\"");
  EXPECT_EQ(route_error("\"egress\": 1"),
            "p.json:2: routes.orders.egress: must be true or false, not a number");
}

TEST(PolicyFile, NeedsExactlyOneKindOfRule) {
  const std::string neither =
      "p.json:1: routes.orders: needs \"allow\" or \"allow-any-verified\": true";
  EXPECT_EQ(route_error("\"sni\": [\"a.b\"]"), neither);
  EXPECT_EQ(route_error("\"allow-any-verified\": false"), neither);
  EXPECT_EQ(route_error(std::string(kAllow) + ", \"allow-any-verified\": true"),
            "p.json:1: routes.orders: has both \"allow\" and \"allow-any-verified\"; they exclude "
            "each other");
  EXPECT_EQ(route_error(std::string(kAllow) + ", \"allow-any-verified\": false"), "no error");
  EXPECT_EQ(route_error(std::string(kAllow) + ", \"allow-empty\": true"), "no error");
  EXPECT_EQ(route_error(std::string(kAllow) + ", \"allow-empty\": 1"),
            "p.json:2: routes.orders.allow-empty: must be true or false, not a number");
  EXPECT_EQ(route_error("\"allow\": [], \"allow-any-verified\": true"),
            "p.json:2: routes.orders.allow: must not be empty");
  EXPECT_EQ(route_error("\"allow-any-verified\": \"true\""),
            "p.json:2: routes.orders.allow-any-verified: must be true or false, not a string");
}

TEST(PolicyFile, RefusesBadPatternsWithTheirPlace) {
  EXPECT_EQ(
      route_error("\"allow\": [\"dns:a.b.c\",\n\"dns:*\"]"),
      "p.json:3: routes.orders.allow[1]: a DNS wildcard needs at least two labels after '*.'");
  EXPECT_EQ(route_error("\"allow\": \"dns:a.b.c\""),
            "p.json:2: routes.orders.allow: must be an array of strings, not a string");
  EXPECT_EQ(route_error("\"allow\": [null]"),
            "p.json:2: routes.orders.allow[0]: must be a string, not null");
}

TEST(PolicyFile, RefusesPatternsThatAnotherOneCovers) {
  EXPECT_EQ(route_error("\"allow\": [\"dns:a.b.c\",\n\"dns:*.b.c\"]"),
            "p.json:2: routes.orders.allow[0]: is covered by allow[1], dns:*.b.c");
  EXPECT_EQ(route_error("\"allow\": [\"spiffe://td/**\",\n\"spiffe://TD/a/*\"]"),
            "p.json:3: routes.orders.allow[1]: is covered by allow[0], spiffe://td/**");
  EXPECT_EQ(route_error("\"allow\": [\"dns:a.b.c\", \"dns:x.b.c\",\n\"dns:A.b.c\"]"),
            "p.json:3: routes.orders.allow[2]: is the same as allow[0]");
  EXPECT_EQ(policy_error(R"({"routes": {"a": {"sni": ["a"], "allow": ["dns:*.b.c"]},
                                    "b": {"sni": ["b"], "allow": ["dns:a.b.c"]}}})"),
            "no error")
      << "another route's pattern covers nothing here";
}

TEST(PolicyFile, RefusesBadServerNames) {
  const std::string place = "p.json:2: routes.orders.sni[0]: ";
  for (const char* name : {"*", "*.", "*.*.a", "a.*.b", "a*.b", "**.a", "", ".", "a..b", "a b",
                           "\xC3\xA9.org", "a/b"}) {
    const std::string error = route_error("\"sni\": [\"" + std::string(name) + "\"]");
    EXPECT_EQ(error.substr(0, place.size()), place) << name;
  }
  EXPECT_EQ(route_error("\"sni\": [\"10.0.0.1\"]"),
            place + "an IP address is never matched: it counts as no SNI");
  EXPECT_EQ(route_error("\"sni\": [\"::1\"]"),
            place + "an IP address is never matched: it counts as no SNI");
  EXPECT_EQ(route_error("\"sni\": []"), "p.json:2: routes.orders.sni: must not be empty");
  EXPECT_EQ(route_error("\"sni\": [\"a.b\",\n\"A.B.\"]"),
            "p.json:3: routes.orders.sni[1]: is listed twice");
}

TEST(PolicyFile, RefusesBadProtocolNames) {
  EXPECT_EQ(route_error("\"alpn\": [\"\"]"),
            "p.json:2: routes.orders.alpn[0]: a protocol name has 1 to 255 bytes");
  EXPECT_EQ(route_error("\"alpn\": [\"" + std::string(256, 'h') + "\"]"),
            "p.json:2: routes.orders.alpn[0]: a protocol name has 1 to 255 bytes");
  EXPECT_EQ(route_error("\"alpn\": [\"h2\", \"h2\"]"),
            "p.json:2: routes.orders.alpn[1]: is listed twice");
}

std::string two_routes(const std::string& first, const std::string& second) {
  return policy_error("{\"routes\": {\"a\": {\"allow-any-verified\": true" + first +
                      "},\n\"b\": {\"allow-any-verified\": true" + second + "}}}");
}

TEST(PolicyFile, RefusesASecondRouteWithTheSameNameAndProtocol) {
  EXPECT_EQ(two_routes(R"(, "sni": ["x.y"])", R"(, "sni": ["z.y", "X.y"])"),
            "p.json:2: routes.b.sni[1]: route 'a' takes it already");
  EXPECT_EQ(two_routes(R"(, "sni": ["*.y"])", R"(, "sni": ["*.y"])"),
            "p.json:2: routes.b.sni[0]: route 'a' takes it already");
  EXPECT_EQ(two_routes(R"(, "sni": ["x.y"], "alpn": ["h2", "h3"])",
                       R"(, "sni": ["x.y"], "alpn": ["http/1.1", "h3"])"),
            "p.json:2: routes.b.sni[0]: route 'a' takes it already with ALPN 'h3'");
  EXPECT_EQ(two_routes(R"(, "sni": ["x.y"], "alpn": ["h2"])", R"(, "sni": ["x.y"])"), "no error");
  EXPECT_EQ(
      two_routes(R"(, "sni": ["x.y"], "alpn": ["h2"])", R"(, "sni": ["x.y"], "alpn": ["h3"])"),
      "no error");
  EXPECT_EQ(two_routes(R"(, "sni": ["x.y"])", R"(, "sni": ["*.y"])"), "no error");
}

TEST(PolicyFile, RefusesASecondRouteWithoutSni) {
  EXPECT_EQ(two_routes("", ""), "p.json:2: routes.b: a second route without \"sni\": 'a' is one");
  EXPECT_EQ(two_routes(R"(, "alpn": ["h2"])", R"(, "alpn": ["h3"])"),
            "p.json:2: routes.b: a second route without \"sni\": 'a' is one");
}

TEST(PolicyFile, RefusesBytesThatAreNotUtf8) {
  EXPECT_EQ(policy_error("{\"routes\": {\n\"\xFF\": {}}}").substr(0, 10), "p.json:2: ");
}

TEST(PolicyFile, ReadsManyPatternsAndRoutes) {
  std::string text = "{\"routes\": {";
  for (int i = 0; i < 500; ++i) {
    const std::string name = "r" + std::to_string(i);
    text += i ? ",\n\"" : "\"";
    text += name;
    text += R"(": {"sni": [")";
    text += name;
    text += R"(.x"], "allow": [)";
    for (int j = 0; j < 20; ++j) {
      text += j ? R"(,"spiffe://td/)" : R"("spiffe://td/)";
      text += std::to_string(j);
      text += R"(/*")";
    }
    text += "]}";
  }
  EXPECT_EQ(policy_error(text + "}}"), "no error");
}

}  // namespace
}  // namespace sallyport::gateway
