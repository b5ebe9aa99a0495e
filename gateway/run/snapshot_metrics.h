#pragma once

#include <span>

#include "gateway/backends/gone_endpoints.h"
#include "gateway/connection/snapshot.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// Replaces what the registry shows of configured facts by those of `snapshot`, but for backends.
void set_snapshot_metrics(metrics::Registry& registry, const Snapshot& snapshot);

/// Backends: before each scrape, since that changes with connects to the endpoints.
void set_backend_metrics(metrics::Registry& registry, const Snapshot& snapshot,
                         std::span<const GoneEndpoint> gone);

/// Before those are missing in `gone` of set_backend_metrics(): their counts stay.
void forget_backend_metrics(metrics::Registry& registry, std::span<const GoneEndpoint> forgotten);

}  // namespace sallyport::gateway
