#include "gateway/observe/discovery_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sallyport::gateway {
namespace {

constexpr std::chrono::sys_seconds at(int seconds) {
  return std::chrono::sys_seconds(std::chrono::seconds(seconds));
}

DiscoveryView view() {
  return {.file = "services.json",
          .zone = "a",
          .written = DiscoveryView::Written{.uid = 7,
                                            .owner = "prometheus",
                                            .modified = at(0),
                                            .bytes = 9,
                                            .sha256 = "ab",
                                            .read = at(1)},
          .refused = std::nullopt,
          .ignored_groups = 3,
          .state_dir = "",
          .state_as_of = std::nullopt,
          .routes = {{.name = "orders", .targets = 2, .zones = {{"a", 1}, {"", 1}}, .since = at(2)},
                     {.name = "users",
                      .targets = 1,
                      .since = at(3),
                      .from_state = true,
                      .refused = "services.json:9: why"}}};
}

TEST(DiscoveryJson, TellsOfFileAndRoutes) {
  const auto json = nlohmann::json::parse(discovery_json(view(), at(100)));
  EXPECT_EQ(json, nlohmann::json::parse(R"({
      "file": "services.json",
      "zone": "a",
      "written": {"uid": 7, "owner": "prometheus", "modified": "1970-01-01T00:00:00.000Z",
                  "bytes": 9, "sha256": "ab", "read": "1970-01-01T00:00:01.000Z"},
      "refused": null,
      "ignored_groups": 3,
      "state": null,
      "routes": [
        {"route": "orders", "targets": 2, "zones": {"a": 1, "": 1}, "since": "1970-01-01T00:00:02.000Z",
         "from_state": false, "refused": null},
        {"route": "users", "targets": 1, "zones": {}, "since": "1970-01-01T00:00:03.000Z",
         "from_state": true, "refused": "services.json:9: why"}]})"));
  EXPECT_EQ(state_in_use(view(), at(100)), "");
}

TEST(DiscoveryJson, TellsOfStateThatIsInUseAndItsAge) {
  DiscoveryView old = view();
  old.written.reset();
  old.refused = "cannot be opened";
  old.state_dir = "/var/lib/sallyport";
  old.state_as_of = at(1'000);
  const auto json = nlohmann::json::parse(discovery_json(old, at(1'090)));
  EXPECT_EQ(json["written"], nullptr);
  EXPECT_EQ(json["refused"], "cannot be opened");
  EXPECT_EQ(json["state"], nlohmann::json::parse(R"({"directory": "/var/lib/sallyport",
      "in_use": true, "as_of": "1970-01-01T00:16:40.000Z", "age_seconds": 90})"));
  EXPECT_EQ(state_in_use(old, at(1'001)), "endpoints of 1 route are of --state-dir, 1 second old");
  EXPECT_EQ(state_in_use(old, at(1'120)), "endpoints of 1 route are of --state-dir, 2 minutes old");
  EXPECT_EQ(state_in_use(old, at(91'000)), "endpoints of 1 route are of --state-dir, 25 hours old");
  EXPECT_EQ(state_in_use(old, at(900)), "endpoints of 1 route are of --state-dir, 0 seconds old");
}

TEST(DiscoveryJson, SaysThatStateIsKeptAndNotUsed) {
  DiscoveryView good = view();
  good.state_dir = "/state";
  const auto json = nlohmann::json::parse(discovery_json(good, at(1)));
  EXPECT_EQ(json["state"]["in_use"], false);
  EXPECT_EQ(json["state"]["as_of"], nullptr);
}

}  // namespace
}  // namespace sallyport::gateway
