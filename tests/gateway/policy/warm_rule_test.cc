#include "gateway/policy/warm_rule.h"

#include <gtest/gtest.h>

#include <string>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

std::expected<Policy::Pointer, ConfigError> read_route_with(const std::string& keys) {
  return parse_policy("{\"routes\": {\"r\": {\"allow-any-verified\": true,\n" + keys + "}}}",
                      "p.json");
}

std::optional<WarmRule> warm_of(const std::string& keys) {
  const auto policy = read_route_with(keys);
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? (*policy)->routes()[0].warm : std::nullopt;
}

TEST(WarmRule, IsOffUnlessGiven) {
  EXPECT_EQ(warm_of(R"("allow-empty": true)"), std::nullopt);
}

TEST(WarmRule, IsReadAsItIsWritten) {
  EXPECT_EQ(warm_of(R"("warm": {"min": 2, "max": 1000, "max-idle": "100ms"})"),
            (WarmRule{.min = 2, .max = 1000, .max_idle = milliseconds(100)}));
  EXPECT_EQ(warm_of(R"("warm": {"max": 4})"), (WarmRule{.min = 0, .max = 4}));
  EXPECT_EQ(warm_of(R"("warm": {"min": 3})"), (WarmRule{.min = 3, .max = 3}));
  EXPECT_EQ(WarmRule{}.max_idle, milliseconds(10'000));
}

TEST(WarmRule, GoesWithEitherOfTlsAndAHeader) {
  EXPECT_TRUE(warm_of(R"("warm": {"max": 1}, "proxy-protocol": "v2")"));
  EXPECT_TRUE(warm_of(R"("warm": {"max": 1}, "backend-tls": {"verify": "endpoint"})"));
}

struct WrongWarm {
  std::string keys, error;
};

class WrongWarmRule : public testing::TestWithParam<WrongWarm> {};

TEST_P(WrongWarmRule, IsRefusedWithItsPlace) {
  const auto policy = read_route_with(GetParam().keys);
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().to_string(), "p.json:2: routes.r.warm" + GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongWarmRule,
    testing::Values(
        WrongWarm{R"("warm": true)", ": must be an object, not a boolean"},
        WrongWarm{R"("warm": {})", ": needs a \"max\" of at least 1"},
        WrongWarm{R"("warm": {"min": 0, "max": 0})", ": needs a \"max\" of at least 1"},
        WrongWarm{R"("warm": {"min": 2, "max": 1})", ".max: is less than \"min\""},
        WrongWarm{R"("warm": {"min": -1})", ".min: must be a number from 0 to 1000"},
        WrongWarm{R"("warm": {"max": 1001})", ".max: must be a number from 0 to 1000"},
        WrongWarm{R"("warm": {"max": 1.5})", ".max: must be a number from 0 to 1000"},
        WrongWarm{R"("warm": {"max": 1, "max-idle": 10})",
                  ".max-idle: must be a string, not a number"},
        WrongWarm{R"("warm": {"max": 1, "max-idle": "99ms"})", ".max-idle: must be at least 100ms"},
        WrongWarm{R"("warm": {"max": 1, "idle": "1s"})", ".idle: unknown key"},
        WrongWarm{R"("warm": {"max": 1}, "proxy-protocol": "v2",
                     "backend-tls": {"verify": "endpoint"})",
                  ": beside \"backend-tls\" there can be no \"proxy-protocol\""},
        WrongWarm{R"("warm": {"max": 1}, "backend-tls": {"verify": "endpoint", "alpn": "forward"})",
                  ": there can be no \"alpn\": \"forward\" in \"backend-tls\""}));

}  // namespace
}  // namespace sallyport::gateway
