#include "gateway/backends/endpoint_identity.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/policy/json_document.h"

namespace sallyport::gateway {
namespace {

bool has_name(const DiscoveredTarget& target) {
  return target.target.kind == Target::Kind::kName || !target.labels->tls_id.empty() ||
         !target.labels->tls_name.empty();
}

// A tls_id is a pattern without wildcard: covered is matched.
bool may_be(const DiscoveredTarget& target, const std::vector<IdentityPattern>& verify) {
  if (target.labels->tls_id.empty()) return true;
  const auto id = IdentityPattern::parse(target.labels->tls_id);
  return id && std::ranges::any_of(verify,
                                   [&id](const IdentityPattern& each) { return each.covers(*id); });
}

ConfigError error_of(const Discovery& discovery, const DiscoveredRoute& route, std::string what) {
  return {discovery.file, route.line, "route '" + printable(route.name) + "'", std::move(what)};
}

void judge_names(const Discovery& discovery, DiscoveredRoute& route) {
  const auto nameless = std::ranges::find_if_not(route.targets, has_name);
  if (nameless == route.targets.end()) return;
  route.refused = error_of(discovery, route,
                           "'" + printable(nameless->text) +
                               "' is no host name and has neither tls_id nor tls_name: its route "
                               "has \"verify\": \"endpoint\", and nothing says whom it must prove "
                               "to be");
  route.targets.clear();
}

void leave_out_others(Discovery& discovery, DiscoveredRoute& route,
                      const std::vector<IdentityPattern>& verify) {
  std::vector<DiscoveredTarget> kept;
  for (DiscoveredTarget& target : route.targets) {
    if (may_be(target, verify)) {
      kept.push_back(std::move(target));
      continue;
    }
    discovery.warnings.push_back(
        error_of(discovery, route,
                 "'" + printable(target.text) + "' has the tls_id " + target.labels->tls_id +
                     ", which no pattern of its route's \"verify\" matches: it is left out"));
  }
  route.targets = std::move(kept);
}

}  // namespace

void judge_identities(Discovery& discovery, const Policy& policy) {
  for (DiscoveredRoute& route : discovery.routes) {
    const Route* const rule = policy.find(route.name);
    if (rule == nullptr || !rule->backend_tls || route.refused) continue;
    if (rule->backend_tls->verify.empty()) {
      judge_names(discovery, route);
    } else {
      leave_out_others(discovery, route, rule->backend_tls->verify);
    }
  }
}

}  // namespace sallyport::gateway
