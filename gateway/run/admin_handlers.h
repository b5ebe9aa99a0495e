// What the admin server answers, taken from the running parts.
#pragma once

#include <chrono>

#include "gateway/connection/snapshot.h"
#include "gateway/observe/access_log.h"
#include "gateway/observe/admin.h"
#include "gateway/observe/log.h"
#include "gateway/observe/recent_refusals.h"
#include "gateway/run/drain.h"
#include "gateway/run/publisher.h"
#include "gateway/run/shard_set.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// The two logs of the process, and what /refusals shows.
struct Logs {
  const LogThread& operational;
  const AccessLog& connections;
  const RecentRefusals& refusals;
};

/// Whether new connections can be served now. The reason is the text of the 503; of a ready gateway
/// it says which clients are refused for a certificate or CRL out of its dates.
[[nodiscard]] Readiness readiness(const Snapshot& snapshot, bool draining,
                                  std::chrono::system_clock::time_point now);

/// All references outlive the handlers. Something must have been published.
[[nodiscard]] AdminHandlers make_admin_handlers(const Publisher& publisher, ShardSet& shards,
                                                metrics::Registry& registry, const Drain& drain,
                                                const Logs& logs);

}  // namespace sallyport::gateway
