// serve() with real clients and backends that speak TLS, without a process around it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/gateway/connection/serve_fixture.h"
#include "tests/support/gateway.h"
#include "tests/support/tls_backend.h"

namespace sallyport::gateway {

inline constexpr char kOrders[] = "spiffe://example.org/orders";

inline BackendTls verifies(const std::string& pattern) {
  BackendTls rule;
  rule.verify = {IdentityPattern::parse(pattern).value()};
  return rule;
}

class BackendTlsTest : public ServeTest {
 protected:
  using Backend = test::Backend;
  using DiscoveryGroup = test::DiscoveryGroup;
  using TlsClient = test::TlsClient;

  BackendTlsTest() : ServeTest(HandshakeLimits().memory) {}
  void SetUp() override {
    if (test::wanted_records() == "kernel") {
      SALLYPORT_NEEDS_KTLS();
      with_kernel_records();
    }
    ServeTest::SetUp();
    // A guest may be slow.
    timeouts_.connect = timeouts_.backend_tickets = std::chrono::minutes(5);
    rule_ = verifies(kOrders);
  }

  // The groups are all of the route orders. While it serves: on the loop.
  void serve_to(std::vector<DiscoveryGroup> groups) {
    for (DiscoveryGroup& each : groups) each.labels["route"] = "orders";
    Snapshot snapshot;
    const auto context = pki_.client_context(presents_);
    snapshot.credentials = {context, &context->credentials()};
    Route orders = route("orders");
    orders.alpn = alpn_;
    orders.takes_no_offer = true;
    if (!plaintext_) orders.backend_tls = rule_;
    orders.warm = warm_;
    orders.endpoint_rules.ejection.reset();
    snapshot.policy = *Policy::build({std::move(orders)});
    snapshot.endpoints =
        EndpointSet::build(*parse_discovery(test::discovery_json(groups), "groups"), {},
                           state_.snapshot->endpoints.get());
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
    state_.backend_tls =
        std::make_shared<const std::vector<std::shared_ptr<ktls::ClientContext>>>(1, context);
  }
  void serve_to(const std::string& target) { serve_to(std::vector{DiscoveryGroup{{target}, {}}}); }

  test::TestCertificate certificate(const test::LeafSpec& spec = {.spiffe = {kOrders}}) const {
    return pki_.authority.issue(spec);
  }
  Backend::Serve echo(const test::LeafSpec& spec = {.spiffe = {kOrders}}) const {
    return test::over_tls({.certificate = certificate(spec)}, test::echo_over_tls);
  }
  // One client that is to be refused.
  const ConnectionFacts& refused_by(const Backend::Serve& serve) {
    const Backend backend(serve);
    serve_to(backend.address());
    serve_clients([this] {
      TlsClient client = connect();
      client.receive_all();
      EXPECT_EQ(client.alert(), 80);
    });
    return log_.records.at(0);
  }
  void expect_served(const Backend::Serve& serve, const test::ClientOptions& options = {}) {
    const Backend backend(serve);
    serve_to(backend.address());
    serve_clients([&] {
      TlsClient client = connect(options);
      EXPECT_TRUE(client.echo("hello"));
      client.close_notify();
      client.receive_all();
      EXPECT_EQ(client.end(), test::TlsEnd::kCloseNotify);
    });
    EXPECT_EQ(to_string(log_.records.at(0).reason), "done") << log_.records.at(0).detail;
  }

  BackendTls rule_;
  bool plaintext_ = false;  // instead of by this rule
  std::optional<WarmRule> warm_;
  std::vector<std::string> alpn_;
  ktls::ClientContext::Presents presents_ = ktls::ClientContext::Presents::kNothing;
};

}  // namespace sallyport::gateway
