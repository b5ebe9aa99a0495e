#include "gateway/run/snapshot_metrics.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace sallyport::gateway {
namespace {

void add_checks(metrics::BackendFacts& facts, const Endpoint& endpoint, const Route* route,
                iouring::TimePoint now) {
  if (route == nullptr || !route->endpoint_rules.health) return;
  const Checked checked = endpoint.life->shown(*route->endpoint_rules.health, now);
  if (facts.up && checked != Checked::kUnknown) facts.healthy = checked == Checked::kUp;
  for (const CheckResult result :
       {CheckResult::kSuccess, CheckResult::kFailure, CheckResult::kUnknown})
    facts.checks.push_back(endpoint.life->checks(result));
}

metrics::BackendFacts facts_of(const std::string& route, const Endpoint& endpoint) {
  return {.route = route,
          .backend = endpoint.target,
          .up = {},
          .healthy = {},
          .connect_failures = endpoint.life->connect_failures(),
          .ejections = endpoint.life->ejections(),
          .connections = endpoint.life->connections()};
}

std::vector<metrics::BackendFacts> backends_of(const Snapshot& snapshot, iouring::TimePoint now) {
  std::vector<metrics::BackendFacts> backends;
  for (const RouteEndpoints& route : snapshot.endpoints->routes()) {
    const Route* const rules = snapshot.policy->find(route.name);
    for (const auto& endpoint : route.endpoints) {
      metrics::BackendFacts& facts = backends.emplace_back(facts_of(route.name, *endpoint));
      facts.up = endpoint->up(now);
      add_checks(facts, *endpoint, rules, now);
    }
    for (const std::string& target : route.unresolved) {
      backends.push_back({.route = route.name, .backend = target, .up = false, .healthy = {}});
    }
  }
  // Also those without connections: another address of the name may stay, and its counts add up.
  for (const GoneEndpoint& gone : snapshot.endpoints->gone()) {
    metrics::BackendFacts& facts = backends.emplace_back(facts_of(gone.route, *gone.endpoint));
    add_checks(facts, *gone.endpoint, snapshot.policy->find(gone.route), now);
  }
  return backends;
}

// Those of all credentials, the earliest of each role and name: trust may be that of several.
std::vector<ktls::Expiry> collect(const Snapshot& snapshot,
                                  std::vector<ktls::Expiry> (ktls::Credentials::*expiries)()
                                      const) {
  std::vector<ktls::Expiry> all;
  for (const auto& credentials : snapshot.all_credentials()) {
    for (ktls::Expiry& expiry : (credentials.get()->*expiries)()) {
      const auto known = std::ranges::find_if(all, [&expiry](const ktls::Expiry& other) {
        return other.role == expiry.role && other.name == expiry.name;
      });
      if (known == all.end()) {
        all.push_back(std::move(expiry));
      } else {
        known->at = std::min(known->at, expiry.at);
      }
    }
  }
  return all;
}

std::vector<metrics::CertificateExpiry> certificates_of(const Snapshot& snapshot) {
  std::vector<metrics::CertificateExpiry> certificates;
  for (ktls::Expiry& expiry : collect(snapshot, &ktls::Credentials::certificate_expiries)) {
    certificates.push_back(
        {.role = std::string(expiry.role), .name = std::move(expiry.name), .not_after = expiry.at});
  }
  return certificates;
}

std::vector<metrics::CrlNextUpdate> crls_of(const Snapshot& snapshot) {
  std::vector<metrics::CrlNextUpdate> crls;
  for (ktls::Expiry& expiry : collect(snapshot, &ktls::Credentials::crl_next_updates))
    crls.push_back({.name = std::move(expiry.name), .next_update = expiry.at});
  return crls;
}

}  // namespace

void set_backend_metrics(metrics::Registry& registry, const Snapshot& snapshot) {
  const auto now = std::chrono::steady_clock::now();
  registry.set_backends(backends_of(snapshot, now), now);
}

void set_snapshot_metrics(metrics::Registry& registry, const Snapshot& snapshot) {
  set_backend_metrics(registry, snapshot);
  registry.set_generation(snapshot.generation);
  registry.set_certificates(certificates_of(snapshot));
  registry.set_crls(crls_of(snapshot));
}

}  // namespace sallyport::gateway
