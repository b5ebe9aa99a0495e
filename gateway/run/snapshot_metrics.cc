#include "gateway/run/snapshot_metrics.h"

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

std::vector<metrics::CertificateExpiry> certificates_of(const ktls::Credentials& credentials) {
  std::vector<metrics::CertificateExpiry> certificates;
  for (const ktls::Expiry& expiry : credentials.certificate_expiries()) {
    certificates.push_back(
        {.role = std::string(expiry.role), .name = expiry.name, .not_after = expiry.at});
  }
  return certificates;
}

std::vector<metrics::CrlNextUpdate> crls_of(const ktls::Credentials& credentials) {
  std::vector<metrics::CrlNextUpdate> crls;
  for (const ktls::Expiry& expiry : credentials.crl_next_updates()) {
    crls.push_back({.name = expiry.name, .next_update = expiry.at});
  }
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
  registry.set_certificates(certificates_of(*snapshot.credentials));
  registry.set_crls(crls_of(*snapshot.credentials));
}

}  // namespace sallyport::gateway
