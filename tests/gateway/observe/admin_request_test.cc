#include "gateway/observe/admin_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sallyport::gateway {
namespace {

constexpr AdminAccess kLoopback{.all_pages = true, .literal_hosts_only = true};
constexpr AdminAccess kPublic{};

auto judged(std::string_view target, const AdminAccess& access = kLoopback,
            std::vector<std::string_view> hosts = {"127.0.0.1:9464"},
            std::string_view method = "GET") {
  return judge({.method = method, .target = target, .hosts = hosts, .http_1_0 = false}, access);
}

// The status of what is refused, 200 of what is not.
template <class... Arguments>
int status(Arguments... arguments) {
  const auto request = judged(arguments...);
  return request ? 200 : request.error().status;
}

TEST(AdminRequest, KnowsExactPathsOnly) {
  EXPECT_EQ(judged("/metrics")->page, AdminPage::kMetrics);
  EXPECT_EQ(judged("/healthz")->page, AdminPage::kHealth);
  EXPECT_EQ(judged("/readyz")->page, AdminPage::kReadiness);
  EXPECT_EQ(judged("/connections")->page, AdminPage::kConnections);
  EXPECT_EQ(judged("/peers")->page, AdminPage::kPeers);
  EXPECT_EQ(judged("/peers/trust")->page, AdminPage::kPeersTrust);
  EXPECT_EQ(judged("/refusals")->page, AdminPage::kRefusals);
  EXPECT_EQ(judged("/discovery")->page, AdminPage::kDiscovery);
  EXPECT_EQ(judged("/routes")->page, AdminPage::kRoutes);
  EXPECT_EQ(judged("/credentials")->page, AdminPage::kCredentials);
  for (const char* path : {"", "/", "*", "/metrics/", "/metricsx", "/Metrics", "//metrics",
                           "/x/../metrics", "/./metrics", "/%6detrics", "/metrics#x",
                           "/connections/1", "/etc/passwd", "http://127.0.0.1/metrics"}) {
    EXPECT_EQ(status(path), 404) << path;
  }
}

TEST(AdminRequest, ShowsOnlyMetricsAndHealthOfAPublicAddress) {
  for (const char* path : {"/metrics", "/healthz", "/readyz"}) {
    EXPECT_EQ(status(path, kPublic), 200) << path;
  }
  for (const char* path : {"/connections", "/connections?x=1", "/peers", "/peers/trust",
                           "/refusals", "/discovery", "/routes", "/credentials"}) {
    EXPECT_EQ(status(path, kPublic), 404) << path;
  }
}

TEST(AdminRequest, ReadsTheParametersOfConnections) {
  EXPECT_EQ(judged("/connections")->limit, 100U);
  EXPECT_FALSE(judged("/connections")->total);
  EXPECT_EQ(judged("/connections?")->limit, 100U);
  EXPECT_EQ(judged("/connections?limit=7")->limit, 7U);
  EXPECT_EQ(judged("/connections?limit=10000")->limit, 10'000U);
  EXPECT_TRUE(judged("/connections?total=1")->total);
  EXPECT_FALSE(judged("/connections?total=0")->total);
  const auto both = judged("/connections?total=1&limit=3");
  EXPECT_TRUE(both->total);
  EXPECT_EQ(both->limit, 3U);
}

TEST(AdminRequest, ReadsThePlaceInThePeers) {
  EXPECT_EQ(judged("/peers/trust")->after, 0U);
  EXPECT_EQ(judged("/peers/trust?after=9007199254740991")->after, 9'007'199'254'740'991U);
  for (const char* query : {"after=", "after=-1", "after=x", "after=1&after=1", "limit=1",
                            "after=18446744073709551616"}) {
    EXPECT_EQ(status(std::string("/peers/trust?") + query), 400) << query;
  }
}

TEST(AdminRequest, RefusesOtherQueries) {
  for (const char* query : {"limit=0",
                            "limit=-1",
                            "limit=10001",
                            "limit=x",
                            "limit=1x",
                            "limit=",
                            "limit",
                            "limit=99999999999",
                            "limit=1111111111111111111111111111111111111111",
                            "total=2",
                            "total=",
                            "total",
                            "other=1",
                            "Limit=1",
                            "limit=1&limit=1",
                            "total=1&total=1",
                            "&",
                            "limit=1&&",
                            "=",
                            "limit=%31"}) {
    EXPECT_EQ(status(std::string("/connections?") + query), 400) << query;
  }
  for (const char* path : {"/metrics", "/healthz", "/readyz", "/peers", "/refusals", "/discovery",
                           "/routes", "/credentials"}) {
    EXPECT_EQ(status(std::string(path) + "?limit=1"), 400) << path;
  }
}

TEST(AdminRequest, OnLoopbackTakesLiteralHostsOnly) {
  for (const char* host : {"localhost", "LocalHost", "localhost:9464", "127.0.0.1", "10.1.2.3:80",
                           "[::1]", "[::1]:9464"}) {
    EXPECT_EQ(status("/metrics", kLoopback, std::vector<std::string_view>{host}), 200) << host;
  }
  for (const char* host : {"", "evil.example.org", "localhost.evil.org", "evil.localhost",
                           "127.0.0.1.nip.io", "127.0.0.1:", "127.0.0.1:x", "localhost:99999",
                           "::1", "[::1", "[::1]x", "[127.0.0.1]", "2130706433", "0x7f.1"}) {
    EXPECT_EQ(status("/metrics", kLoopback, std::vector<std::string_view>{host}), 403) << host;
    EXPECT_EQ(status("/metrics", kPublic, std::vector<std::string_view>{host}), 200) << host;
  }
}

TEST(AdminRequest, HasOneHostOrIsOfHttp10) {
  EXPECT_EQ(status("/metrics", kPublic, std::vector<std::string_view>{}), 400);
  EXPECT_EQ(status("/metrics", kPublic, std::vector<std::string_view>{"a", "a"}), 400);
  for (const AdminAccess& access : {kLoopback, kPublic}) {
    EXPECT_TRUE(
        judge({.method = "GET", .target = "/healthz", .hosts = {}, .http_1_0 = true}, access));
  }
}

TEST(AdminRequest, IsGetOrHead) {
  const std::vector<std::string_view> host{"localhost"};
  EXPECT_EQ(status("/metrics", kLoopback, host, "HEAD"), 200);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "BREW"}) {
    EXPECT_EQ(status("/metrics", kLoopback, host, method), 405) << method;
    EXPECT_EQ(status("/other", kLoopback, host, method), 405) << method;
  }
}

}  // namespace
}  // namespace sallyport::gateway
