#include "gateway/run/snapshot_metrics.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace sallyport::gateway {
namespace {

std::vector<metrics::BackendFacts> backends_of(const EndpointSet& endpoints,
                                               std::chrono::steady_clock::time_point now) {
  std::vector<metrics::BackendFacts> backends;
  for (const RouteEndpoints& route : endpoints.routes()) {
    for (const auto& endpoint : route.endpoints) {
      backends.push_back({.route = route.name,
                          .backend = endpoint->target,
                          .up = endpoint->up(now),
                          .connect_failures = *endpoint->connect_failures});
    }
    for (const std::string& target : route.unresolved) {
      backends.push_back({.route = route.name, .backend = target, .up = false});
    }
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

void set_backend_metrics(metrics::Registry& registry, const EndpointSet& endpoints) {
  const auto now = std::chrono::steady_clock::now();
  registry.set_backends(backends_of(endpoints, now), now);
}

void set_snapshot_metrics(metrics::Registry& registry, const Snapshot& snapshot) {
  set_backend_metrics(registry, *snapshot.endpoints);
  registry.set_generation(snapshot.generation);
  registry.set_certificates(certificates_of(snapshot));
  registry.set_crls(crls_of(snapshot));
}

}  // namespace sallyport::gateway
