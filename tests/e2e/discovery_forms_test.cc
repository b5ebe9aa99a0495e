// What writes the discovery file may be made for Prometheus, in YAML, or for Envoy: the same
// gateway follows each, and names file, line and key of what it refuses.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class DiscoveryForms : public Scenario {
 protected:
  std::string reached() const {
    TlsClient tls = connect();
    const std::string name = tls.receive(6);
    tls.close_notify();
    return name + tls.receive_all();
  }
  void wait_reached(const std::string& name) const {
    wait_until("the gateway routes to " + name, [&] { return reached() == name; });
  }
  static std::string yaml(const Backend& backend) {
    return "- targets: [" + backend.address() + "]\n  labels:\n    route: orders\n";
  }
  static std::string assignment(const Backend& backend, const std::string& more = "") {
    return R"({"cluster_name": "orders", "endpoints": [{)" + more +
           R"("lb_endpoints": [{"endpoint": {"address":
      {"socket_address": {"address": "127.0.0.1", "port_value": )" +
           backend.port() + "}}}}]}]}";
  }

  Backend first{named("first ")};
  Backend second{named("second ")};
};

TEST_F(DiscoveryForms, FollowYamlAndNameTheLineOfAnError) {
  const std::string file = dir.write("targets.yml", yaml(first));
  start({"--discovery", file});
  EXPECT_EQ(reached(), "first ");
  dir.replace("targets.yml", "- targets: &all\n  - " + second.address());
  gateway->wait_err({"targets.yml:1: [0].targets: anchors are not supported"});
  EXPECT_EQ(reached(), "first ");
  dir.replace("targets.yml", yaml(second));
  wait_reached("second ");
}

TEST_F(DiscoveryForms, FollowAnAssignmentOfEnvoyAndNameTheLineOfAnError) {
  const std::string file = dir.write("eds.json", assignment(first));
  start({"--discovery", file});
  EXPECT_EQ(reached(), "first ");
  dir.replace("eds.json", assignment(second, "\n\"priority\": 1, "));
  gateway->wait_err({"eds.json:2: endpoints[0].priority: must be 0"});
  EXPECT_EQ(reached(), "first ");
  dir.replace("eds.json", R"({"version_info": "2", "resources": [)" + assignment(second) + "]}");
  wait_reached("second ");
}

}  // namespace
}  // namespace sallyport::test
