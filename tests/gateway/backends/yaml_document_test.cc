#include "gateway/backends/yaml_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gateway/backends/discovery.h"

namespace sallyport::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

JsonValue tree_of(std::string_view text) {
  auto value = parse_yaml(text, "d.yml");
  EXPECT_TRUE(value) << value.error().to_string();
  return value ? *value : JsonValue{};
}

std::string yaml_error(std::string_view text) {
  const auto value = parse_yaml(text, "d.yml");
  return value ? "no error" : value.error().to_string();
}

TEST(YamlDocument, GivesTheSameDiscoveryAsJson) {
  constexpr std::string_view kYaml = R"(# comment
- targets:
    - 10.0.0.7:8080
    - '[::1]:9000'
  labels: {route: orders, weight: 10, state: draining, zone: no}
- targets: ["unix:/run/x.sock"]
  labels:
    route: "billing"
- targets: [node:9100]
  labels: {job: node}
- labels: ~
)";
  constexpr std::string_view kJson = R"([
    {"targets": ["10.0.0.7:8080", "[::1]:9000"],
     "labels": {"route": "orders", "weight": "10", "state": "draining", "zone": "no"}},
    {"targets": ["unix:/run/x.sock"], "labels": {"route": "billing"}},
    {"targets": ["node:9100"], "labels": {"job": "node"}}, {"labels": null}])";
  const auto yaml = parse_discovery(kYaml, "d.yml");
  const auto json = parse_discovery(kJson, "d.json");
  ASSERT_TRUE(yaml) << yaml.error().to_string();
  ASSERT_TRUE(json);
  EXPECT_EQ(yaml->ignored_groups, json->ignored_groups);
  ASSERT_EQ(yaml->routes.size(), json->routes.size());
  for (std::size_t i = 0; i < json->routes.size(); ++i) {
    EXPECT_EQ(yaml->routes[i].name, json->routes[i].name);
    EXPECT_EQ(yaml->routes[i].targets, json->routes[i].targets);
  }
}

TEST(YamlDocument, IsWhatAFileOfThatEndingHolds) {
  EXPECT_TRUE(parse_discovery("- targets: []", "d.yml"));
  EXPECT_TRUE(parse_discovery("- targets: []", "d.YAML"));
  EXPECT_FALSE(parse_discovery("- targets: []", "d.json"));
  EXPECT_FALSE(parse_discovery("- targets: []", "yml"));
  EXPECT_TRUE(parse_discovery("[{\"targets\": [\"a:1\"]}]", "d.yml")) << "JSON is YAML";
}

TEST(YamlDocument, TakesScalarsForTextButNull) {
  const JsonValue list =
      tree_of("- 10\n- no\n- 0x10\n- 'null'\n- ~\n- null\n-\n- \"\"\n- |-\n  x\n  y");
  const JsonValue::Array& items = *list.array();
  ASSERT_EQ(items.size(), 9u);
  EXPECT_EQ(*items[0].string(), "10");
  EXPECT_EQ(*items[1].string(), "no");
  EXPECT_EQ(*items[2].string(), "0x10");
  EXPECT_EQ(*items[3].string(), "null");
  for (std::size_t i = 4; i < 7; ++i) EXPECT_TRUE(items[i].is_null()) << i;
  EXPECT_EQ(*items[7].string(), "");
  EXPECT_EQ(*items[8].string(), "x\ny");
}

TEST(YamlDocument, KnowsTheLineOfEveryValueAndKey) {
  const JsonValue value = tree_of("a:\n  - b\n  -\n    c: d\n");
  const JsonMember& member = value.object()->at(0);
  EXPECT_EQ(member.line, 1u);
  const JsonValue::Array& items = *member.value.array();
  EXPECT_EQ(items[0].line, 2u);
  EXPECT_EQ(items[1].object()->at(0).line, 4u);
  EXPECT_EQ(items[1].object()->at(0).value.line, 4u);
}

TEST(YamlDocument, RefusesWhatMeansMoreThanItSays) {
  EXPECT_EQ(yaml_error("- &a x\n- *a"), "d.yml:1: [0]: anchors are not supported");
  EXPECT_EQ(yaml_error("- x\n- *a"), "d.yml:2: [1]: aliases are not supported");
  EXPECT_EQ(yaml_error("- &a [x]"), "d.yml:1: [0]: anchors are not supported");
  EXPECT_EQ(yaml_error("- {x: &a {}}"), "d.yml:1: [0].x: anchors are not supported");
  EXPECT_EQ(yaml_error("- !!binary eA=="), "d.yml:1: [0]: tags are not supported");
  EXPECT_EQ(yaml_error("- !x {}"), "d.yml:1: [0]: tags are not supported");
  EXPECT_EQ(yaml_error("- !x []"), "d.yml:1: [0]: tags are not supported");
  EXPECT_EQ(yaml_error("a:\n  <<: {b: c}"), "d.yml:2: a: merge keys are not supported");
}

TEST(YamlDocument, RefusesAKeyThatIsGivenTwiceOrIsNoText) {
  EXPECT_EQ(yaml_error("- a: 1\n  b: 2\n  a: 3"),
            "d.yml:3: [0].a: duplicate key, already given on line 1");
  EXPECT_EQ(yaml_error("- {a: 1, \"a\": 2}"),
            "d.yml:1: [0].a: duplicate key, already given on line 1");
  EXPECT_THAT(yaml_error("? [a]\n: b"), HasSubstr("d.yml:1: a key must be a text"));
  EXPECT_THAT(yaml_error("? {a: b}\n: b"), HasSubstr("a key must be a text"));
}

TEST(YamlDocument, RefusesMoreThanOneDocumentAndNone) {
  EXPECT_EQ(yaml_error("---\n- a\n...\n"), "no error");
  EXPECT_EQ(yaml_error("- a\n---\n- b"), "d.yml:2: a second document begins");
  EXPECT_THAT(yaml_error(""), HasSubstr("the file is empty"));
  EXPECT_THAT(yaml_error("# nothing\n"), HasSubstr("the file is empty"));
}

TEST(YamlDocument, RefusesWhatIsNoYaml) {
  EXPECT_THAT(yaml_error("- a\n- [b"), StartsWith("d.yml:"));
  EXPECT_THAT(yaml_error("a: b\n\tc: d"), StartsWith("d.yml:2:"));
  EXPECT_THAT(yaml_error("a: b: c"), HasSubstr("mapping values are not allowed"));
  EXPECT_THAT(yaml_error("- a\n- \xff"), StartsWith("d.yml:2:")) << "not UTF-8";
  EXPECT_THAT(yaml_error(std::string("- a\n- b\0c", 9)), StartsWith("d.yml:2:")) << "NUL";
  EXPECT_THAT(yaml_error(std::string("\xff\xfe-\0 \0a\0", 8)), StartsWith("d.yml:1:")) << "UTF-16";
  EXPECT_EQ(yaml_error("\xef\xbb\xbf- a"), "no error") << "a byte order mark";
}

TEST(YamlDocument, IsBounded) {
  EXPECT_EQ(yaml_error(std::string(16, '[') + std::string(16, ']')), "no error");
  EXPECT_THAT(yaml_error(std::string(17, '[')), HasSubstr("nested deeper than 16 levels"));
  EXPECT_NE(yaml_error(std::string(1'000'000, '[')), "no error");
  EXPECT_NE(yaml_error(std::string(1'000'000, '{')), "no error");
  std::string blocks;
  for (int i = 0; i < 1'000; ++i) blocks += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  EXPECT_THAT(yaml_error(blocks), HasSubstr("nested deeper than 16 levels"));
  const auto large = parse_yaml("- abc", "d.yml", {.bytes = 4});
  ASSERT_FALSE(large);
  EXPECT_THAT(large.error().to_string(), HasSubstr("larger than 4 bytes"));
}

}  // namespace
}  // namespace sallyport::gateway
