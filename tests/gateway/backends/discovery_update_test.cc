#include "gateway/backends/discovery_update.h"

#include <gtest/gtest.h>

#include <string>

#include "gateway/policy/policy.h"
#include "tests/gateway/backends/discovery_text.h"

namespace sallyport::gateway {
namespace {

Discovery route_with(const std::string& route, int first, int last) {
  std::string text = "[{\"labels\": {\"route\": \"" + route + "\"}, \"targets\": [";
  for (int i = first; i < last; ++i) {
    text += (i > first ? ",\"a:" : "\"a:") + std::to_string(i + 1) + "\"";
  }
  return parsed(text + "]}]");
}

// Why route "r" is not updated.
std::string update_error(const Discovery& previous, const Discovery& next, UpdateLimits limits) {
  const Discovery updated = update_discovery(&previous, next, limits);
  const DiscoveredRoute* route = updated.find("r");
  if (!route || !route->refused) return "no error";
  EXPECT_EQ(route->targets, previous.find("r")->targets) << "the last good ones stay";
  return route->refused->to_string();
}

TEST(DiscoveryUpdate, RefusesToLeaveARouteWithNone) {
  const Discovery ten = route_with("r", 0, 10);
  const std::string error =
      "would be left with none of its 10 targets; \"allow-empty\" in the policy file or "
      "--discovery-allow-empty accepts this";
  EXPECT_EQ(update_error(ten, route_with("r", 0, 0), {}), "d.json:1: route 'r': " + error);
  EXPECT_EQ(update_error(ten, route_with("s", 0, 5), {}), "d.json: route 'r': " + error);
  EXPECT_EQ(update_error(ten, parsed("[]"), {}), "d.json: route 'r': " + error);
  EXPECT_EQ(update_error(ten, parsed("[]"), {.allow_empty = true}), "no error");
  EXPECT_EQ(update_error(route_with("r", 0, 0), parsed("[]"), {}), "no error")
      << "it had none before";
  EXPECT_EQ(update_error(Discovery{}, ten, {}), "no error");
  EXPECT_EQ(update_error(ten, route_with("r", 20, 21), {}), "no error") << "all others, but one";
}

TEST(DiscoveryUpdate, RefusesToLeaveLessThanThePercentage) {
  const Discovery ten = route_with("r", 0, 10);
  EXPECT_EQ(update_error(ten, route_with("r", 3, 10), {.max_removal_percent = 30}), "no error");
  EXPECT_EQ(update_error(ten, route_with("r", 4, 10), {.max_removal_percent = 30}),
            "d.json:1: route 'r': would have 6 targets instead of 10, which is less by more than "
            "the 30 % of --discovery-max-removal");
  EXPECT_EQ(update_error(ten, route_with("r", 0, 20), {.max_removal_percent = 0}), "no error");
  EXPECT_NE(update_error(ten, route_with("r", 1, 10), {.max_removal_percent = 0}), "no error");
  EXPECT_EQ(update_error(ten, parsed("[]"), {.allow_empty = true, .max_removal_percent = 30}),
            "no error")
      << "it may be left with none";
}

TEST(DiscoveryUpdate, LetsAllTargetsBeSwappedForOthers) {
  EXPECT_EQ(update_error(route_with("r", 0, 4), route_with("r", 4, 8), {.max_removal_percent = 0}),
            "no error");
}

TEST(DiscoveryUpdate, AppliesTheRestOfAFileOfWhichARouteIsRefused) {
  const Discovery before = parsed(R"([{"targets": ["a:1"], "labels": {"route": "r"}},
                                      {"targets": ["b:1"], "labels": {"route": "s"}}])");
  const Discovery after =
      update_discovery(&before, parsed(R"([{"targets": ["a"], "labels": {"route": "r"}},
                          {"targets": ["b:2"], "labels": {"route": "s"}}])"),
                       {});
  EXPECT_EQ(after.find("r")->targets, before.find("r")->targets);
  EXPECT_TRUE(after.find("r")->refused);
  EXPECT_EQ(after.find("s")->targets[0].text, "b:2");
  EXPECT_FALSE(after.find("s")->refused);
}

TEST(DiscoveryUpdate, ARefusedRouteBeginsWithNone) {
  const Discovery first =
      update_discovery(nullptr, parsed(R"([{"targets": ["a"], "labels": {"route": "r"}}])"), {});
  EXPECT_TRUE(first.find("r")->targets.empty());
  EXPECT_TRUE(first.find("r")->refused);
}

class DiscoveryUpdateWithPolicy : public ::testing::Test {
 protected:
  const Policy::Pointer policy_ = parse_policy(R"({"routes": {
      "r": {"allow-any-verified": true},
      "batch": {"sni": ["batch.test"], "allow-any-verified": true, "allow-empty": true}}})",
                                               "p.json")
                                      .value();
  const UpdateLimits limits_{.policy = policy_.get()};
};

TEST_F(DiscoveryUpdateWithPolicy, ARouteWithAllowEmptyMayLoseAll) {
  const Discovery before = route_with("batch", 0, 3);
  const Discovery after = update_discovery(&before, parsed("[]"), limits_);
  EXPECT_EQ(after.find("batch"), nullptr);
}

TEST_F(DiscoveryUpdateWithPolicy, ARouteThatThePolicyLacksIsNeverRefused) {
  const Discovery before = parsed(R"([{"targets": ["a:1"], "labels": {"route": "retired"}},
                                      {"targets": ["a:1"], "labels": {"route": "r"}}])");
  const Discovery gone = update_discovery(
      &before, parsed(R"([{"targets": ["a:2"], "labels": {"route": "r"}}])"), limits_);
  EXPECT_EQ(gone.find("retired"), nullptr);
  EXPECT_EQ(gone.find("r")->targets[0].text, "a:2");

  const Discovery broken =
      update_discovery(&before, parsed(R"([{"targets": ["a"], "labels": {"route": "retired"}},
                          {"targets": ["a:2"], "labels": {"route": "r"}}])"),
                       limits_);
  EXPECT_TRUE(broken.refused().empty());
  ASSERT_EQ(broken.warnings.size(), 1u);
  EXPECT_EQ(broken.warnings[0].to_string(), "d.json:1: [0].targets[0]: 'a': the port is missing");
}

}  // namespace
}  // namespace sallyport::gateway
