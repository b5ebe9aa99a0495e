#include "gateway/backends/discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gateway/backends/discovery_update.h"
#include "tests/gateway/backends/discovery_text.h"

namespace sallyport::gateway {
namespace {

// Why the file is refused.
std::string error_of(std::string_view text) {
  const auto parsed = parse_discovery(text, "d.json");
  return parsed ? "no error" : parsed.error().to_string();
}

// Why a route is refused.
std::string route_error(std::string_view text, std::string_view route = "r") {
  const auto parsed = parse_discovery(text, "d.json");
  if (!parsed) return "the file is refused";
  const DiscoveredRoute* found = parsed->find(route);
  return found && found->refused ? found->refused->to_string() : "no error";
}

// One group with these labels beside the route.
std::string label_error(const std::string& labels) {
  return route_error("[{\"targets\": [\"a:1\"], \"labels\": {\"route\": \"r\",\n" + labels + "}}]");
}

TEST(Discovery, ReadsTheExampleOfTheManual) {
  const Discovery discovery = parsed(
      R"([{"targets": ["10.0.0.7:8080", "[::1]:9000", "unix:/run/x.sock"],
           "labels": {"route": "orders"}}])");
  ASSERT_EQ(discovery.routes.size(), 1u);
  EXPECT_EQ(discovery.routes[0].name, "orders");
  ASSERT_EQ(discovery.routes[0].targets.size(), 3u);
  EXPECT_EQ(discovery.routes[0].targets[2].text, "unix:/run/x.sock");
  const GroupLabels& labels = *discovery.routes[0].targets[0].labels;
  EXPECT_EQ(labels.weight, 100u);
  EXPECT_EQ(labels.state, EndpointState::kReady);
  EXPECT_EQ(labels.zone, "");
  EXPECT_EQ(discovery.file, "d.json");
}

TEST(Discovery, ReadsReservedLabelsAndIgnoresOthers) {
  const Discovery discovery = parsed(R"([{"targets": ["a:1"], "labels": {
      "route": "r", "weight": "0", "state": "draining", "zone": "z1", "tls_name": "a.b",
      "tls_id": "spiffe://Example.org/ns/a",
      "team": "x", "__meta_pod": "p"}}])");
  const GroupLabels& labels = *discovery.routes[0].targets[0].labels;
  EXPECT_EQ(labels.weight, 0u);
  EXPECT_EQ(labels.state, EndpointState::kDraining);
  EXPECT_EQ(labels.zone, "z1");
  EXPECT_EQ(labels.tls_name, "a.b");
  EXPECT_EQ(labels.tls_id, "spiffe://example.org/ns/a") << "in the form of identities";
}

TEST(Discovery, ReadsReservedLabelsOfYaml) {
  const auto discovery = parse_discovery(
      "- targets: [a:1]\n"
      "  labels: {route: r, weight: 7, state: down, zone: eu-1, tls_name: a.b, tls_id: "
      "'dns:a.b'}\n",
      "d.yml");
  ASSERT_TRUE(discovery) << discovery.error().to_string();
  EXPECT_EQ(*discovery->routes.at(0).targets.at(0).labels,
            (GroupLabels{.weight = 7,
                         .state = EndpointState::kDown,
                         .zone = "eu-1",
                         .tls_name = "a.b",
                         .tls_id = "dns:a.b"}));
}

TEST(Discovery, JoinsGroupsOfOneRoute) {
  const Discovery discovery = parsed(R"([
      {"targets": ["a:1"], "labels": {"route": "r", "state": "down"}},
      {"targets": ["b:1"], "labels": {"route": "s"}},
      {"targets": ["b:1", "B.example:2"], "labels": {"route": "r"}}])");
  EXPECT_EQ(discovery.route_labels(), (std::vector<std::string>{"r", "s"}));
  ASSERT_EQ(discovery.routes[0].targets.size(), 3u);
  EXPECT_EQ(discovery.routes[0].targets[0].labels->state, EndpointState::kDown);
  EXPECT_EQ(discovery.routes[0].targets[1].labels->state, EndpointState::kReady);
  EXPECT_EQ(discovery.host_names(), (std::set<std::string>{"a", "b", "b.example"}));
}

TEST(Discovery, IgnoresAndCountsGroupsWithoutRoute) {
  const Discovery discovery = parsed(R"([
      {"targets": ["http://probe.example/path"], "labels": {"job": "blackbox", "weight": "heavy"}},
      {"targets": ["x"]},
      {"labels": null, "targets": null},
      {},
      {"targets": ["a"], "labels": {"route": ""}},
      {"targets": ["a:1"], "labels": {"route": "r"}}])");
  EXPECT_EQ(discovery.ignored_groups, 5u);
  EXPECT_EQ(discovery.routes.size(), 1u);
}

TEST(Discovery, ARouteMayHaveNoTargets) {
  for (const char* text :
       {R"([{"targets": [], "labels": {"route": "r"}}])",
        R"([{"targets": null, "labels": {"route": "r"}}])", R"([{"labels": {"route": "r"}}])"}) {
    const Discovery discovery = parsed(text);
    ASSERT_EQ(discovery.routes.size(), 1u) << text;
    EXPECT_TRUE(discovery.routes[0].targets.empty());
  }
  EXPECT_TRUE(parsed("[]").routes.empty());
}

TEST(Discovery, RefusesOtherShapes) {
  EXPECT_EQ(error_of(""), "d.json:1: the file is empty");
  EXPECT_EQ(error_of("null"), "d.json:1: must be an array of groups, not null");
  EXPECT_EQ(error_of("{}"), "d.json:1: must be an array of groups, not an object");
  EXPECT_EQ(error_of("[\n[]]"),
            "d.json:2: [0]: must be an object with \"targets\" and \"labels\", not an array");
  EXPECT_EQ(error_of("[{},\n{\"target\": []}]"),
            "d.json:2: [1].target: unknown key; did you mean 'targets'?");
  EXPECT_EQ(error_of("[{\"targets\": \"a:1\"}]"),
            "d.json:1: [0].targets: must be an array of strings, not a string");
  EXPECT_EQ(error_of("[{\"targets\": [\"a:1\",\n1]}]"),
            "d.json:2: [0].targets[1]: must be a string, not a number");
  EXPECT_EQ(error_of("[{\"labels\": []}]"),
            "d.json:1: [0].labels: must be an object, not an array");
  EXPECT_EQ(error_of("[{\"labels\": {\"route\": 5}}]"),
            "d.json:1: [0].labels.route: must be a string, not a number");
  EXPECT_EQ(error_of("[{\"labels\": {\"a\": \"1\",\n\"a\": \"2\"}}]"),
            "d.json:2: [0].labels.a: duplicate key, already given on line 1");
}

TEST(Discovery, WarnsOfAMisspeltLabel) {
  const Discovery discovery = parsed(R"([{"targets": ["a:1"], "labels": {"route": "r",
      "wieght": "5", "tls-name": "a", "Zone": "x",
      "stage": "test", "height": "tall", "team": "z"}}])");
  ASSERT_EQ(discovery.warnings.size(), 3u);
  std::vector<std::string> warnings;
  for (const ConfigError& each : discovery.warnings) warnings.push_back(each.to_string());
  EXPECT_THAT(warnings,
              testing::UnorderedElementsAre(
                  "d.json:2: [0].labels.wieght: is no label of ours; did you mean 'weight'?",
                  "d.json:2: [0].labels.tls-name: is no label of ours; did you mean 'tls_name'?",
                  "d.json:2: [0].labels.Zone: is no label of ours; did you mean 'zone'?"));
}

TEST(Discovery, AWordThatIsNoStateIsToldTheNearest) {
  EXPECT_EQ(route_error("[{\"labels\": {\"route\": \"r\", \"state\": \"drainig\"}}]"),
            "d.json:1: [0].labels.state: must be one of ready, draining, down; did you mean "
            "'draining'?");
}

TEST(Discovery, AnErrorInAGroupRefusesItsRouteAndNoOther) {
  const Discovery discovery = parsed(R"([
      {"targets": ["a:1"], "labels": {"route": "r"}},
      {"targets": ["b:1"], "labels": {"route": "s"}},
      {"targets": ["a:0"], "labels": {"route": "r"}},
      {"targets": ["a:2"], "labels": {"route": "r"}}])");
  ASSERT_EQ(discovery.routes.size(), 2u);
  EXPECT_TRUE(discovery.routes[0].targets.empty());
  EXPECT_EQ(discovery.routes[0].refused.value().to_string(),
            "d.json:4: [2].targets[0]: 'a:0': the port must be a number from 1 to 65535");
  EXPECT_EQ(discovery.routes[1].targets.size(), 1u);
  EXPECT_FALSE(discovery.routes[1].refused);
  EXPECT_EQ(discovery.refused(), std::vector{&discovery.routes[0]});
}

TEST(Discovery, AFormThatIsUnknownRefusesTheRouteThatTheGroupNames) {
  EXPECT_EQ(route_error("[{\"labels\": {\"route\": \"r\"},\n\"target\": []}]"),
            "d.json:2: [0].target: unknown key; did you mean 'targets'?");
  EXPECT_EQ(route_error("[{\"labels\": {\"route\": \"r\"},\n\"targets\": \"a:1\"}]"),
            "d.json:2: [0].targets: must be an array of strings, not a string");
  EXPECT_EQ(route_error("[{\"labels\": {\"route\": \"r\\n\"}}]", "r\\x0a"),
            "d.json:1: [0].labels.route: a route's name has 1 to 255 bytes and no control "
            "characters");
}

TEST(Discovery, MayBeginWithAByteOrderMark) {
  EXPECT_EQ(parsed("\xEF\xBB\xBF[{\"labels\": {\"route\": \"r\"}}]").routes.size(), 1u);
}

TEST(Discovery, ABadReservedLabelRefusesTheRoute) {
  for (const char* weight :
       {"", "-1", "65536", "1.5", "ten", " 1", "1 ", "+1", "0x10", "99999999999999999999"}) {
    EXPECT_EQ(label_error("\"weight\": \"" + std::string(weight) + "\""),
              "d.json:2: [0].labels.weight: must be a number from 0 to 65535")
        << weight;
  }
  EXPECT_EQ(label_error("\"weight\": \"65535\""), "no error");
  EXPECT_EQ(label_error("\"weight\": 100"),
            "d.json:2: [0].labels.weight: must be a string, not a number");
  for (const char* state : {"", "Ready", "up"}) {
    EXPECT_THAT(
        label_error("\"state\": \"" + std::string(state) + "\""),
        testing::StartsWith("d.json:2: [0].labels.state: must be one of ready, draining, down"));
  }
  EXPECT_EQ(label_error("\"tls_name\": \"a b\""),
            "d.json:2: [0].labels.tls_name: must be a host name or an IP address");
}

TEST(Discovery, ATlsIdIsOneIdentity) {
  EXPECT_EQ(label_error(R"("tls_id": "spiffe://example.org/orders")"), "no error");
  EXPECT_EQ(label_error(R"("tls_id": "dns:orders.example.org")"), "no error");
  for (const char* wide :
       {"spiffe://example.org/*", "spiffe://example.org/a/**", "dns:*.example.org"}) {
    EXPECT_EQ(label_error(R"("tls_id": ")" + std::string(wide) + "\""),
              "d.json:2: [0].labels.tls_id: must be one identity, without a wildcard");
  }
  for (const char* wrong : {"", "orders.example.org", "spiffe://example.org", "dns:", "dns:a b"})
    EXPECT_NE(label_error(R"("tls_id": ")" + std::string(wrong) + "\""), "no error") << wrong;
}

TEST(Discovery, RefusesBadTargetsWithTheirPlace) {
  EXPECT_EQ(route_error("[{\"targets\": [\"a:1\",\n\"b\"], \"labels\": {\"route\": \"r\"}}]"),
            "d.json:2: [0].targets[1]: 'b': the port is missing");
}

TEST(Discovery, TheSameTargetTwiceInARouteIsOneEndpointWithAWarning) {
  const Discovery discovery = parsed(
      "[{\"targets\": [\"[::1]:1\"], \"labels\": {\"route\": \"r\"}},\n"
      "{\"targets\": [\"[0::1]:1\", \"[::1]:1\"], \"labels\": {\"route\": \"r\"}}]");
  ASSERT_EQ(discovery.routes[0].targets.size(), 1u);
  EXPECT_EQ(discovery.routes[0].targets[0].text, "[::1]:1");
  ASSERT_EQ(discovery.warnings.size(), 1u);
  EXPECT_EQ(discovery.warnings[0].to_string(),
            "d.json:2: [1].targets[0]: '[::1]:1' is in route 'r' already: it is one "
            "endpoint (and 1 more like this)");
  EXPECT_TRUE(parsed(R"([{"targets": ["a:1"], "labels": {"route": "r"}},
                         {"targets": ["a:1", "a:2"], "labels": {"route": "s"}}])")
                  .warnings.empty());
}

TEST(Discovery, OfTheLabelsOfOneTargetTheMoreCautiousCounts) {
  const Discovery discovery = parsed(R"([
      {"targets": ["a:1", "b:1"],
       "labels": {"route": "r", "weight": "5", "state": "draining", "zone": "first"}},
      {"targets": ["a:1"], "labels": {"route": "r", "weight": "7", "state": "down", "zone": "second"}},
      {"targets": ["a:1"], "labels": {"route": "r", "weight": "3"}}])");
  ASSERT_EQ(discovery.routes[0].targets.size(), 2u);
  EXPECT_EQ(
      *discovery.routes[0].targets[0].labels,
      (GroupLabels{.weight = 3, .state = EndpointState::kDown, .zone = "first", .tls_name = ""}));
  EXPECT_EQ(discovery.routes[0].targets[1].labels->weight, 5u);
}

TEST(Discovery, ATargetWithTwoTlsNamesIsLeftOut) {
  const Discovery discovery = parsed(R"([
      {"targets": ["a:1", "b:1"], "labels": {"route": "r", "tls_name": "a.test"}},
      {"targets": ["a:1"], "labels": {"route": "r"}}])");
  EXPECT_FALSE(discovery.routes[0].refused);
  ASSERT_EQ(discovery.routes[0].targets.size(), 1u);
  EXPECT_EQ(discovery.routes[0].targets[0].text, "b:1");
  ASSERT_EQ(discovery.warnings.size(), 1u);
}

TEST(Discovery, ATargetWithTwoTlsIdsIsLeftOut) {
  const Discovery discovery = parsed(R"([
      {"targets": ["a:1", "b:1"], "labels": {"route": "r", "tls_id": "dns:a.test"}},
      {"targets": ["b:1"], "labels": {"route": "r", "tls_id": "dns:A.test"}},
      {"targets": ["a:1"], "labels": {"route": "r", "tls_id": "dns:b.test"}}])");
  ASSERT_EQ(discovery.routes[0].targets.size(), 1u);
  EXPECT_EQ(discovery.routes[0].targets[0].text, "b:1");
  ASSERT_EQ(discovery.warnings.size(), 2u);
  EXPECT_EQ(discovery.warnings[1].what,
            "'a:1' is in route 'r' already, with another tls_id: it is left out");
}

TEST(Discovery, RefusesEveryTruncationAndBytesThatAreNotUtf8) {
  const std::string whole = R"([{"targets": ["10.0.0.7:8080"], "labels": {"route": "orders"}}])";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(whole.substr(0, size)), "no error") << size;
  }
  EXPECT_NE(error_of("[{\"labels\": {\"zone\": \"\xFF\"}}]"), "no error");
}

TEST(Discovery, ReadsAHundredThousandEndpoints) {
  std::string text = "[";
  for (int i = 0; i < 100'000; ++i) {
    text += (i ? ",\n" : "");
    text += "{\"targets\": [\"10." + std::to_string(i / 65536) + "." +
            std::to_string(i / 256 % 256) + "." + std::to_string(i % 256) +
            ":80\"], \"labels\": {\"route\": \"r" + std::to_string(i % 10) + "\"}}";
  }
  const Discovery discovery = parsed(text + "]");
  ASSERT_EQ(discovery.routes.size(), 10u);
  EXPECT_EQ(discovery.routes[9].targets.size(), 10'000u);
  EXPECT_EQ(update_discovery(&discovery, discovery, {}), discovery);
}

}  // namespace
}  // namespace sallyport::gateway
