// Two gateways: an application's, with an --egress, and a service's behind it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/e2e/scenario.h"

namespace sallyport::test {

class SidecarScenario : public Scenario {
 protected:
  /// `gateway`, the service's ingress before `backend`, and `sidecar`, the egress of "web".
  void start_both(const Backend& backend, const std::string& at = "127.0.0.1:0",
                  const std::vector<std::string>& more = {}) {
    start_for(backend);
    start_sidecar(at, gateway->address(), more);
  }

  /// Its certificate is in web.pem and web.key, its policy in policy.json.
  void start_sidecar(const std::string& at, const std::string& target,
                     const std::vector<std::string>& more = {}) {
    dir.write("sidecar.json", discovery_json({{{target}, {{"route", "orders"}}}}));
    dir.write("policy.json", policy_of_sidecar(R"("dns:orders.example.org")"));
    const std::string_view settings = at.starts_with("unix:") ? ",mode=0640" : "";
    std::vector<std::string> all{"--egress",
                                 at + "=orders" + std::string(settings),
                                 "--admin",
                                 "127.0.0.1:0",
                                 "--cert",
                                 dir.write("web.pem", client.chain_pem),
                                 "--key",
                                 dir.write_secret("web.key", client.key_pem),
                                 "--ca",
                                 dir.write("roots.pem", root.cert_pem()),
                                 "--policy",
                                 dir / "policy.json",
                                 "--discovery",
                                 dir / "sidecar.json",
                                 "--drain-timeout",
                                 "5s"};
    if (!wanted_records().empty()) all.insert(all.end(), {"--records", wanted_records()});
    all.insert(all.end(), more.begin(), more.end());
    sidecar = std::make_unique<Gateway>(all);
  }

  static std::string policy_of_sidecar(const std::string& verify) {
    return R"({"routes": {"orders": {"egress": true, "backend-tls": {"verify": [)" + verify +
           "]}}}}";
  }

  void TearDown() override {
    if (sidecar) EXPECT_EQ(sidecar->stop(), "");
    Scenario::TearDown();
  }

  std::unique_ptr<Gateway> sidecar;
};

}  // namespace sallyport::test
