// The line of `systemctl status`: how much there is to do, and what is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/observe/admin.h"
#include "gateway/run/drain.h"
#include "gateway/run/publisher.h"
#include "gateway/run/reload.h"
#include "gateway/run/shard_set.h"
#include "iouring/task.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

struct ServiceState {
  Readiness readiness = {};
  std::uint64_t generation = 0;
  std::vector<std::string> refused = {};    ///< see Reloader::refused()
  std::optional<std::size_t> hanging = {};  ///< a shard that does not turn
};

/// "ready, 12 connections, generation 3", and behind it what is wrong. One line of UTF-8, about 1
/// KiB at most.
[[nodiscard]] std::string status_line(const ServiceState& state, std::uint64_t connections);

/// Tells systemd, and the log of a shard that hangs. All references outlive it. Control thread
/// only.
class ServiceStatus {
 public:
  ServiceStatus(const Publisher& publisher, const Reloader& reloader, const ShardSet& shards,
                const Drain& drain, const metrics::Registry& registry)
      : publisher_(publisher),
        reloader_(reloader),
        shards_(shards),
        drain_(drain),
        registry_(registry) {}

  /// What is new at once, connections every ten seconds. Until cancelled.
  [[nodiscard]] iouring::Task<void> report_changes(iouring::Ring& ring);

 private:
  [[nodiscard]] ServiceState look() const;

  const Publisher& publisher_;
  const Reloader& reloader_;
  const ShardSet& shards_;
  const Drain& drain_;
  const metrics::Registry& registry_;
};

}  // namespace sallyport::gateway
