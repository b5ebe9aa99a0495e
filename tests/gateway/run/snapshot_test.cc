// What is shown of a snapshot: readiness, and the facts in the metrics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/run/admin_handlers.h"
#include "gateway/run/snapshot_metrics.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using std::chrono::system_clock;
using ::testing::HasSubstr;
using ::testing::Not;

class SnapshotTest : public ::testing::Test {
 protected:
  SnapshotTest() {
    serve_with(authority_.issue({.cn = "gateway", .dns = {"gateway.test"}}));
    discover(R"([{"targets": ["10.0.0.7:80"], "labels": {"route": "orders"}}])");
    snapshot_.policy = policy_of("orders");
  }

  static Policy::Pointer policy_of(const std::string& name) {
    Route route;
    route.name = name;
    route.allow_any_verified = true;
    return *Policy::build({route});
  }

  void serve_with(const test::TestCertificate& issued) {
    ktls::CredentialFiles credentials;
    credentials.pairs = {{files_.write("tls.crt", issued.chain_pem).string(),
                          files_.write_secret("tls.key", issued.key_pem).string()}};
    credentials.ca = {{std::nullopt, files_.write("ca.crt", authority_.cert_pem()).string()}};
    snapshot_.credentials = ktls::Credentials::load(credentials).value();
  }

  void discover(std::string_view text) {
    snapshot_.endpoints = EndpointSet::build(parse_discovery(text, "d.json").value(), {}, nullptr);
  }

  test::TestAuthority authority_;
  test::TempDir files_;
  Snapshot snapshot_;
};

TEST_F(SnapshotTest, IsReadyWithAUsableEndpointAndAValidCertificate) {
  EXPECT_TRUE(readiness(snapshot_, false, system_clock::now()).ready);
}

TEST_F(SnapshotTest, IsNotReadyWhileDraining) {
  const Readiness now = readiness(snapshot_, true, system_clock::now());
  EXPECT_FALSE(now.ready);
  EXPECT_EQ(now.reason, "draining");
}

TEST_F(SnapshotTest, IsNotReadyFromTheMomentAtWhichItsCertificateExpires) {
  const auto end = snapshot_.credentials->own_not_after();
  EXPECT_TRUE(readiness(snapshot_, false, end - std::chrono::seconds(1)).ready);
  const Readiness then = readiness(snapshot_, false, end);
  EXPECT_FALSE(then.ready);
  EXPECT_EQ(then.reason, "a certificate of the gateway has expired");
}

// RFC 5280 4.1.2.5 has this date for certificates without an end. In nanoseconds it lay in 1816.
TEST_F(SnapshotTest, IsReadyWithACertificateThatEndsInTheYear9999) {
  const std::chrono::sys_seconds end = std::chrono::sys_days(std::chrono::year(9999) / 12 / 31);
  serve_with(authority_.issue(
      {.not_after = end - std::chrono::floor<std::chrono::seconds>(system_clock::now())}));
  EXPECT_TRUE(readiness(snapshot_, false, system_clock::now()).ready);
  metrics::Registry registry({}, {});
  set_snapshot_metrics(registry, snapshot_);
  EXPECT_THAT(registry.scrape(), HasSubstr("tls.crt\"} 2534022"));
}

TEST_F(SnapshotTest, IsNotReadyWithEndpointsOfUnreachableRoutesOnly) {
  snapshot_.policy = policy_of("another");
  EXPECT_EQ(readiness(snapshot_, false, system_clock::now()).reason, "no usable endpoint");
}

TEST_F(SnapshotTest, IsNotReadyWithoutAUsableEndpoint) {
  discover(R"([{"targets": ["10.0.0.7:80"], "labels": {"route": "orders", "state": "down"}}])");
  const Readiness now = readiness(snapshot_, false, system_clock::now());
  EXPECT_FALSE(now.ready);
  EXPECT_EQ(now.reason, "no usable endpoint");
}

TEST_F(SnapshotTest, ShowsItsBackendsAndCertificatesInTheMetrics) {
  discover(R"([{"targets": ["10.0.0.7:80", "unresolved:80"], "labels": {"route": "orders"}},
               {"targets": ["10.0.0.8:80"], "labels": {"route": "orders", "weight": "0"}}])");
  metrics::Registry registry({}, {});
  set_snapshot_metrics(registry, snapshot_);
  set_backend_metrics(registry, snapshot_, {});
  const std::string text = registry.scrape();
  EXPECT_THAT(text, HasSubstr(R"(sallyport_backend_up{route="orders",backend="10.0.0.7:80"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(sallyport_backend_up{route="orders",backend="10.0.0.8:80"} 0)"));
  EXPECT_THAT(text, HasSubstr(R"(sallyport_backend_up{route="orders",backend="unresolved:80"} 0)"));
  EXPECT_THAT(text, HasSubstr(R"(certificate_expiry_timestamp_seconds{role="server",name=")"));
  EXPECT_THAT(text, HasSubstr(R"(certificate_expiry_timestamp_seconds{role="ca",name=")"));
  EXPECT_THAT(text, HasSubstr(R"(certificate_not_before_timestamp_seconds{role="ca",name=")"));
}

TEST_F(SnapshotTest, ReplacesTheBackendsOfTheSnapshotBeforeIt) {
  metrics::Registry registry({}, {});
  set_backend_metrics(registry, snapshot_, {});
  discover(R"([{"targets": ["10.0.0.8:80"], "labels": {"route": "orders"}}])");
  set_backend_metrics(registry, snapshot_, {});
  EXPECT_THAT(registry.scrape(), Not(HasSubstr(R"(backend_up{route="orders",backend="10.0.0.7)")))
      << "its counters stay for an hour";
  EXPECT_THAT(registry.scrape(), HasSubstr("10.0.0.8"));
}

}  // namespace
}  // namespace sallyport::gateway
