#include "gateway/policy/endpoint_rules.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

std::expected<Policy::Pointer, ConfigError> read_rules(const std::string& keys) {
  return parse_policy("{\"routes\": {\"r\": {\"allow-any-verified\": true" +
                          (keys.empty() ? "" : ",\n" + keys) + "}}}",
                      "p.json");
}

EndpointRules rules(const std::string& keys) {
  const auto policy = read_rules(keys);
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? (*policy)->routes()[0].endpoint_rules : EndpointRules{};
}

std::string error(const std::string& keys) {
  const auto policy = read_rules(keys);
  return policy ? "no error" : policy.error().to_string();
}

TEST(EndpointRules, HaveTheirDefaults) {
  const EndpointRules none = rules("");
  EXPECT_FALSE(none.health);
  ASSERT_TRUE(none.ejection);
  EXPECT_EQ(none.ejection->failures, 3U);
  EXPECT_EQ(none.ejection->time, 10s);
  EXPECT_EQ(none.ejection->max_time, 5min);
  EXPECT_EQ(none.when_none_healthy, WhenNoneHealthy::kUseAll);
  EXPECT_FALSE(none.prefer_zone);
  EXPECT_FALSE(none.end_when_down);
  EXPECT_EQ(none.slow_start, 0s);
  EXPECT_EQ(none.removal_timeout, 0s);
  const HealthCheck check = *rules(R"("health": {"type": "http"})").health;
  EXPECT_EQ(check.interval, 5s);
  EXPECT_EQ(check.timeout, 1s);
  EXPECT_EQ(check.rise, 2U);
  EXPECT_EQ(check.fall, 3U);
  EXPECT_FALSE(check.port);
  EXPECT_EQ(check.path, "/");
  EXPECT_EQ(check.lowest_status, 200U);
  EXPECT_EQ(check.highest_status, 399U);
}

TEST(EndpointRules, AreReadAsTheyAreWritten) {
  const EndpointRules all = rules(
      R"("health": {"type": "http", "interval": "2s", "timeout": "500ms", "rise": 1, "fall": 5,
          "port": 8081, "path": "/live?x", "host": "a.example", "status": "204"},
         "ejection": {"failures": 7, "time": "1s", "max-time": "1m"},
         "when-none-healthy": "refuse", "end-when-down": true, "slow-start": "30s",
         "prefer-zone": true,
         "removal-timeout": "5m")");
  ASSERT_TRUE(all.health);
  EXPECT_TRUE(all.prefer_zone);
  EXPECT_EQ(all.health->type, HealthCheck::Type::kHttp);
  EXPECT_EQ(all.health->interval, 2s);
  EXPECT_EQ(all.health->timeout, 500ms);
  EXPECT_EQ(all.health->rise, 1U);
  EXPECT_EQ(all.health->fall, 5U);
  EXPECT_EQ(all.health->port, 8081);
  EXPECT_EQ(all.health->path, "/live?x");
  EXPECT_EQ(all.health->host, "a.example");
  EXPECT_EQ(all.health->lowest_status, 204U);
  EXPECT_EQ(all.health->highest_status, 204U);
  EXPECT_EQ(all.ejection->failures, 7U);
  EXPECT_EQ(all.ejection->time, 1s);
  EXPECT_EQ(all.ejection->max_time, 1min);
  EXPECT_EQ(all.when_none_healthy, WhenNoneHealthy::kRefuse);
  EXPECT_TRUE(all.end_when_down);
  EXPECT_EQ(all.slow_start, 30s);
  EXPECT_EQ(all.removal_timeout, 5min);
  EXPECT_FALSE(rules(R"("ejection": false)").ejection);
  const auto text =
      rules(R"("health": {"type": "send-expect", "send": "PING\r\n", "expect": "+"})");
  EXPECT_EQ(text.health->send, "PING\r\n");
  EXPECT_EQ(text.health->expect, "+");
}

struct Wrong {
  std::string keys, what;
};

class WrongEndpointRules : public testing::TestWithParam<Wrong> {};

TEST_P(WrongEndpointRules, AreRefusedWithTheirPlace) {
  EXPECT_EQ(error(GetParam().keys), "p.json:2: routes.r." + GetParam().what);
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongEndpointRules,
    testing::Values(
        Wrong{R"("health": true)", "health: must be an object, not a boolean"},
        Wrong{R"("health": {})", "health: \"type\" is missing"},
        Wrong{R"("health": {"type": "icmp"})",
              "health.type: must be one of tcp, http, send-expect"},
        Wrong{R"("health": {"type": "tcp", "path": "/"})",
              "health.path: is no key of the type \"tcp\""},
        Wrong{R"("health": {"expect": "x", "type": "http"})",
              "health.expect: is no key of the type \"http\""},
        Wrong{R"("health": {"type": "send-expect"})", "health: \"expect\" is missing"},
        Wrong{R"("health": {"type": "send-expect", "expect": ""})",
              "health.expect: must not be empty"},
        Wrong{R"("health": {"type": "tcp", "intervall": "1s"})",
              "health.intervall: unknown key; did you mean 'interval'?"},
        Wrong{R"("health": {"type": "tcp", "interval": 5})",
              "health.interval: must be a string, not a number"},
        Wrong{R"("health": {"type": "tcp", "interval": "5"})",
              "health.interval: '5' lacks a unit: ms, s, m or h"},
        Wrong{R"("health": {"type": "tcp", "interval": "0"})",
              "health.interval: must be longer than 0"},
        Wrong{R"("health": {"type": "tcp", "interval": "99ms"})",
              "health.interval: must be at least 100ms"},
        Wrong{R"("health": {"type": "tcp", "rise": 0})",
              "health.rise: must be a number from 1 to 100"},
        Wrong{R"("health": {"type": "tcp", "fall": 1.5})",
              "health.fall: must be a number from 1 to 100"},
        Wrong{R"("health": {"type": "tcp", "port": 65536})",
              "health.port: must be a port, 1 to 65535"},
        Wrong{R"("health": {"type": "http", "path": "live"})", "health.path: must begin with '/'"},
        Wrong{R"("health": {"type": "http", "path": "/\r\nX: y"})",
              "health.path: holds a blank or a control character"},
        Wrong{R"("health": {"type": "http", "host": "a b"})",
              "health.host: holds a blank or a control character"},
        Wrong{R"("health": {"type": "http", "status": "399-200"})",
              "health.status: must be a status or a range such as \"200-399\""},
        Wrong{R"("health": {"type": "http", "status": "2xx"})",
              "health.status: must be a status or a range such as \"200-399\""},
        Wrong{R"("ejection": true)", "ejection: must be false or an object, not a boolean"},
        Wrong{R"("ejection": {"failures": 0})",
              "ejection.failures: must be a number from 1 to 100"},
        Wrong{R"("ejection": {"time": "10m"})", "ejection: \"max-time\" is shorter than \"time\""},
        Wrong{R"("ejection": {"tries": 1})", "ejection.tries: unknown key"},
        Wrong{R"("when-none-healthy": "panic")",
              "when-none-healthy: must be one of use-all, refuse"},
        Wrong{R"("end-when-down": "yes")", "end-when-down: must be true or false, not a string"},
        Wrong{R"("slow-start": "soon")",
              "slow-start: 'soon' is not a duration such as 500ms, 10s, 5m, 1h or 0"},
        Wrong{R"("removal-timeout": -1)", "removal-timeout: must be a string, not a number"}));

TEST(EndpointRules, EndNothingWithoutChecks) {
  EXPECT_EQ(error(R"("end-when-down": true)"),
            "p.json:1: routes.r: \"end-when-down\" needs \"health\"");
  EXPECT_EQ(error(R"("end-when-down": false)"), "no error");
  EXPECT_EQ(error(R"("ejection": {"failures": 1, "time": "1s", "max-time": "0"})"),
            "p.json:2: routes.r.ejection.max-time: must be longer than 0");
  EXPECT_EQ(error(R"("health": {"type": "http", "path": ""})"),
            "p.json:2: routes.r.health.path: must not be empty");
  EXPECT_EQ(error(R"("health": {"type": "http", "status": ""})"),
            "p.json:2: routes.r.health.status: must not be empty");
  EXPECT_EQ(
      error(R"("health": {"type": "send-expect", "expect": ")" + std::string(4097, 'x') + "\"}"),
      "p.json:2: routes.r.health.expect: is longer than 4096 bytes");
  EXPECT_EQ(error(R"("health": {"type": "http", "status": "99"})"),
            "p.json:2: routes.r.health.status: must be a status or a range such as \"200-399\"");
  EXPECT_EQ(error(R"("health": {"type": "http", "status": "200-600"})"),
            "p.json:2: routes.r.health.status: must be a status or a range such as \"200-399\"");
  EXPECT_EQ(error(R"("health": {"type": "tcp", "port": "80"})"),
            "p.json:2: routes.r.health.port: must be a port, 1 to 65535");
}

}  // namespace
}  // namespace sallyport::gateway
