#include "gateway/backends/discovery_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gateway/backends/discovery_update.h"
#include "tests/gateway/backends/discovery_text.h"

namespace sallyport::gateway {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::sys_seconds kThen{std::chrono::seconds(1'795'000'000)};

std::expected<KeptDiscovery, ConfigError> read_back(const std::string& text) {
  return parse_discovery_state(text, "state.json", "d.json");
}

std::string state_error(const std::string& text) {
  const auto kept = read_back(text);
  return kept ? "no error" : kept.error().to_string();
}

std::string with_groups(const std::string& groups) {
  return R"({"version": 1, "discovery": "d.json", "as_of": 1, "groups": )" + groups + "}";
}

TEST(DiscoveryState, GivesBackEveryTargetAndLabelInOrder) {
  const Discovery discovery = parsed(R"([
      {"targets": ["b:1", "10.0.0.7:8080", "unix:/run/x.sock"], "labels": {"route": "r"}},
      {"targets": ["[::1]:9000"], "labels": {"route": "s", "weight": "0", "state": "draining",
                                             "zone": "z", "tls_name": "a.b",
                                             "tls_id": "spiffe://d/a", "team": "x"}},
      {"targets": ["a:1"], "labels": {"route": "r", "state": "down", "weight": "7"}},
      {"targets": ["c:1"], "labels": {"route": "r"}}])");
  const auto kept = read_back(discovery_state(discovery, "d.json", kThen));
  ASSERT_TRUE(kept) << kept.error().to_string();
  EXPECT_EQ(kept->as_of, kThen);
  EXPECT_EQ(kept->discovery.file, "state.json");
  ASSERT_EQ(kept->discovery.routes.size(), discovery.routes.size());
  for (std::size_t i = 0; i < discovery.routes.size(); ++i) {
    EXPECT_EQ(kept->discovery.routes[i].name, discovery.routes[i].name);
    EXPECT_EQ(kept->discovery.routes[i].targets, discovery.routes[i].targets);
  }
}

// Without a policy file the names are the routes: with one less, another would take every SNI.
TEST(DiscoveryState, KeepsRoutesWithoutTargets) {
  const Discovery discovery = parsed(R"([{"labels": {"route": "r"}},
      {"targets": ["no-port"], "labels": {"route": "s"}}, {"targets": ["a:1"]}])");
  const auto kept = read_back(discovery_state(discovery, "d.json", kThen));
  ASSERT_TRUE(kept) << kept.error().to_string();
  EXPECT_EQ(kept->discovery.route_labels(), (std::vector<std::string>{"r", "s"}));
  EXPECT_TRUE(kept->discovery.refused().empty());
  EXPECT_EQ(kept->discovery.ignored_groups, 0u);
}

TEST(DiscoveryState, KeepsWhatARefusedRouteHadBefore) {
  const Discovery before = parsed(R"([{"targets": ["a:1"], "labels": {"route": "r"}}])");
  const Discovery after =
      update_discovery(&before, parsed(R"([{"targets": [], "labels": {"route": "r"}}])"), {});
  ASSERT_FALSE(after.refused().empty());
  const auto kept = read_back(discovery_state(after, "d.json", kThen));
  ASSERT_TRUE(kept) << kept.error().to_string();
  EXPECT_EQ(kept->discovery.routes[0].targets, before.routes[0].targets);
}

TEST(DiscoveryState, RefusesWhatIsCutOffAnywhere) {
  const std::string whole = discovery_state(
      parsed(R"([{"targets": ["a:1", "b:2"], "labels": {"route": "r"}}])"), "d.json", kThen);
  ASSERT_TRUE(read_back(whole));
  for (std::size_t size = 0; size + 1 < whole.size(); ++size) {
    EXPECT_FALSE(read_back(whole.substr(0, size))) << size;
  }
}

TEST(DiscoveryState, RefusesAnotherVersion) {
  EXPECT_THAT(state_error(R"({"version": 2, "endpoints": []})"), HasSubstr("state.json: version"));
  EXPECT_THAT(state_error("{}"), HasSubstr("state.json: version"));
  EXPECT_THAT(state_error("[]"), HasSubstr("state.json: version"));
}

TEST(DiscoveryState, RefusesThatOfAnotherDiscoveryFile) {
  const std::string text = discovery_state({}, "/etc/other.json", kThen);
  EXPECT_THAT(state_error(text), HasSubstr("'/etc/other.json', and --discovery is 'd.json'"));
}

TEST(DiscoveryState, RefusesWhatItWouldNotHaveWritten) {
  EXPECT_EQ(state_error(with_groups("[]")), "no error");
  EXPECT_THAT(state_error(with_groups(R"([{"targets": ["a"], "labels": {"route": "r"}}])")),
              HasSubstr("the port is missing"));
  EXPECT_THAT(state_error(with_groups("{}")), HasSubstr("must be an array of groups"));
  EXPECT_THAT(state_error(R"({"version": 1, "discovery": "d.json", "groups": []})"),
              HasSubstr("lacks"));
  EXPECT_THAT(state_error(R"({"version": 1, "discovery": 5, "as_of": 1, "groups": []})"),
              HasSubstr("lacks"));
}

}  // namespace
}  // namespace sallyport::gateway
