#include "gateway/run/snapshot_metrics.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sallyport::gateway {
namespace {

std::vector<std::uint64_t> checks_of(const EndpointLife& life) {
  return {life.checks(CheckResult::kSuccess), life.checks(CheckResult::kFailure),
          life.checks(CheckResult::kUnknown)};
}

// What was counted once stays, also when its route checks no more.
metrics::BackendFacts facts_of(const std::string& route, const Endpoint& endpoint, bool checked) {
  const EndpointLife& life = *endpoint.life;
  metrics::BackendFacts facts{.route = route,
                              .backend = endpoint.target,
                              .up = {},
                              .healthy = {},
                              .connect_failures = life.connect_failures(),
                              .ejections = life.ejections(),
                              .connections = life.connections(),
                              .checks = checks_of(life)};
  const bool any = std::ranges::any_of(facts.checks, [](std::uint64_t count) { return count > 0; });
  if (!checked && !any) facts.checks.clear();
  return facts;
}

bool is_checked(const Route* route) {
  return route != nullptr && route->endpoint_rules.health.has_value();
}

std::vector<metrics::BackendFacts> backends_of(const Snapshot& snapshot,
                                               std::span<const GoneEndpoint> gone,
                                               iouring::TimePoint now) {
  std::vector<metrics::BackendFacts> backends;
  for (const RouteEndpoints& route : snapshot.endpoints->routes()) {
    const Route* const rules = snapshot.policy->find(route.name);
    for (const auto& endpoint : route.endpoints) {
      metrics::BackendFacts& facts =
          backends.emplace_back(facts_of(route.name, *endpoint, is_checked(rules)));
      facts.up = endpoint->up(now);
      if (!is_checked(rules)) continue;
      const Checked checked = endpoint->life->shown(*rules->endpoint_rules.health, now);
      if (checked != Checked::kUnknown) facts.healthy = checked == Checked::kUp;
    }
    for (const std::string& target : route.unresolved) {
      backends.push_back({.route = route.name, .backend = target, .up = false, .healthy = {}});
    }
  }
  // Also those without connections: another address of the name may stay, and its counts add up.
  for (const GoneEndpoint& each : gone) {
    const Route* const rules = snapshot.policy->find(each.route);
    backends.push_back(facts_of(each.route, *each.endpoint, is_checked(rules)));
  }
  return backends;
}

// Those of all credentials, the earliest of each role and name: trust may be that of several.
std::vector<ktls::Expiry> collect(const Snapshot& snapshot,
                                  std::vector<ktls::Expiry> (ktls::Credentials::*expiries)()
                                      const) {
  std::vector<ktls::Expiry> all;
  for (const auto& credentials : snapshot.all_credentials()) {
    for (ktls::Expiry& expiry : (credentials.get()->*expiries)())
      add_earliest(all, std::move(expiry));
  }
  return all;
}

std::vector<metrics::CertificateExpiry> certificates_of(const Snapshot& snapshot) {
  std::vector<metrics::CertificateExpiry> certificates;
  for (ktls::Expiry& expiry : collect(snapshot, &ktls::Credentials::certificate_expiries)) {
    certificates.push_back({.role = std::string(expiry.role),
                            .name = std::move(expiry.name),
                            .not_before = expiry.since,
                            .not_after = expiry.at});
  }
  return certificates;
}

std::vector<metrics::CrlNextUpdate> crls_of(const Snapshot& snapshot) {
  std::vector<metrics::CrlNextUpdate> crls;
  for (ktls::Expiry& expiry : collect(snapshot, &ktls::Credentials::crl_next_updates))
    crls.push_back(
        {.name = std::move(expiry.name), .this_update = expiry.since, .next_update = expiry.at});
  return crls;
}

}  // namespace

void set_backend_metrics(metrics::Registry& registry, const Snapshot& snapshot,
                         std::span<const GoneEndpoint> gone) {
  const auto now = std::chrono::steady_clock::now();
  registry.set_backends(backends_of(snapshot, gone, now), now);
}

void forget_backend_metrics(metrics::Registry& registry, std::span<const GoneEndpoint> forgotten) {
  if (forgotten.empty()) return;
  std::vector<metrics::BackendFacts> addresses;
  addresses.reserve(forgotten.size());
  for (const GoneEndpoint& each : forgotten)
    addresses.push_back(facts_of(each.route, *each.endpoint, false));
  registry.forget_backends(addresses, std::chrono::steady_clock::now());
}

void set_snapshot_metrics(metrics::Registry& registry, const Snapshot& snapshot) {
  registry.set_generation(snapshot.generation);
  registry.set_certificates(certificates_of(snapshot));
  registry.set_crls(crls_of(snapshot));
}

}  // namespace sallyport::gateway
