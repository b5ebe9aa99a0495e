#include "gateway/backends/endpoint_identity.h"

#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "gateway/backends/expected_backend.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {
namespace {

using Expected = std::expected<ExpectedBackend, std::string>;

Expected expected_of(const DiscoveredTarget& target, const BackendTls& rule) {
  return ExpectedBackend::of(rule, *target.labels, target.text);
}

ConfigError error_of(const Discovery& discovery, const DiscoveredRoute& route, std::string what) {
  return {discovery.file, route.line, "route '" + printable(route.name) + "'", std::move(what)};
}

// With "verify": "endpoint" one without a name holds up its route.
void refuse_without_name(const Discovery& discovery, DiscoveredRoute& route,
                         const BackendTls& rule) {
  for (const DiscoveredTarget& target : route.targets) {
    const Expected expected = expected_of(target, rule);
    if (expected) continue;
    route.refused = error_of(discovery, route,
                             "'" + printable(target.text) + "' " + expected.error() +
                                 ": its route has \"verify\": \"endpoint\"");
    route.targets.clear();
    return;
  }
}

void leave_out_others(Discovery& discovery, DiscoveredRoute& route, const BackendTls& rule) {
  std::vector<DiscoveredTarget> kept;
  for (DiscoveredTarget& target : route.targets) {
    const Expected expected = expected_of(target, rule);
    if (expected) {
      kept.push_back(std::move(target));
      continue;
    }
    discovery.warnings.push_back(
        error_of(discovery, route,
                 "'" + printable(target.text) + "' " + expected.error() + ": it is left out"));
  }
  route.targets = std::move(kept);
}

}  // namespace

void judge_identities(Discovery& discovery, const Policy& policy) {
  for (DiscoveredRoute& route : discovery.routes) {
    const Route* const rule = policy.find(route.name);
    if (rule == nullptr || !rule->backend_tls || route.refused) continue;
    if (rule->backend_tls->verify.empty()) {
      refuse_without_name(discovery, route, *rule->backend_tls);
    } else {
      leave_out_others(discovery, route, *rule->backend_tls);
    }
  }
}

}  // namespace sallyport::gateway
