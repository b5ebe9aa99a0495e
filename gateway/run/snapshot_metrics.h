#pragma once

#include "gateway/connection/snapshot.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// Replaces what the registry shows of configured facts by those of `snapshot`: backends,
/// certificates and CRLs.
void set_snapshot_metrics(metrics::Registry& registry, const Snapshot& snapshot);

/// The part of it that changes with connects to the endpoints: before each scrape.
void set_backend_metrics(metrics::Registry& registry, const Snapshot& snapshot);

}  // namespace sallyport::gateway
