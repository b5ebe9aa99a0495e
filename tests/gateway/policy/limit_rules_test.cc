#include "gateway/policy/limit_rules.h"

#include <gtest/gtest.h>

#include <string>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {
namespace {

std::expected<Policy::Pointer, ConfigError> read_limits_of(const std::string& keys) {
  return parse_policy("{\"routes\": {\"r\": {\"allow-any-verified\": true,\n" + keys + "}}}",
                      "p.json");
}

LimitRules limits_of(const std::string& keys) {
  const auto policy = read_limits_of(keys);
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? (*policy)->routes()[0].limits : LimitRules{};
}

TEST(LimitRules, AreOffUnlessGiven) {
  const LimitRules none = limits_of(R"("limits": {})");
  EXPECT_EQ(none.connections_per_identity, 0U);
  EXPECT_EQ(none.handshakes_per_identity, 0U);
  EXPECT_EQ(none.max_connections, 0U);
  EXPECT_EQ(none.max_connections_per_endpoint, 0U);
}

TEST(LimitRules, AreReadAsTheyAreWritten) {
  const LimitRules all = limits_of(
      R"("limits": {"connections-per-identity": 20, "handshakes-per-identity": "50/s"},
         "max-connections": 1000000, "max-connections-per-endpoint": 7)");
  EXPECT_EQ(all.connections_per_identity, 20U);
  EXPECT_EQ(all.handshakes_per_identity, 50U);
  EXPECT_EQ(all.max_connections, 1'000'000U);
  EXPECT_EQ(all.max_connections_per_endpoint, 7U);
  EXPECT_EQ(
      limits_of(R"("limits": {"handshakes-per-identity": "65535/s"})").handshakes_per_identity,
      65'535U);
}

struct WrongLimit {
  std::string keys, what;
};

class WrongLimitRules : public testing::TestWithParam<WrongLimit> {};

TEST_P(WrongLimitRules, AreRefusedWithTheirPlace) {
  const auto policy = read_limits_of(GetParam().keys);
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().to_string(), "p.json:2: routes.r." + GetParam().what);
}

const std::string kNumber = ": must be a number from 0 to 1000000; 0 means off";
const std::string kRate = ": must be a rate such as \"50/s\", at most 65535/s";

INSTANTIATE_TEST_SUITE_P(
    Each, WrongLimitRules,
    testing::Values(WrongLimit{R"("limits": 5)", "limits: must be an object, not a number"},
                    WrongLimit{R"("limits": {"connections": 5})",
                               "limits.connections: unknown key"},
                    WrongLimit{R"("limits": {"connections-per-identity": "5"})",
                               "limits.connections-per-identity" + kNumber},
                    WrongLimit{R"("limits": {"connections-per-identity": -1})",
                               "limits.connections-per-identity" + kNumber},
                    WrongLimit{R"("limits": {"handshakes-per-identity": 50})",
                               "limits.handshakes-per-identity: must be a string, not a number"},
                    WrongLimit{R"("limits": {"handshakes-per-identity": "50"})",
                               "limits.handshakes-per-identity" + kRate},
                    WrongLimit{R"("limits": {"handshakes-per-identity": "0/s"})",
                               "limits.handshakes-per-identity" + kRate},
                    WrongLimit{R"("limits": {"handshakes-per-identity": "65536/s"})",
                               "limits.handshakes-per-identity" + kRate},
                    WrongLimit{R"("limits": {"handshakes-per-identity": "x/s"})",
                               "limits.handshakes-per-identity" + kRate},
                    WrongLimit{R"("max-connections": 1000001)", "max-connections" + kNumber},
                    WrongLimit{R"("max-connections": 1.5)", "max-connections" + kNumber},
                    WrongLimit{R"("max-connections-per-endpoint": null)",
                               "max-connections-per-endpoint" + kNumber}));

}  // namespace
}  // namespace sallyport::gateway
