// Publishes the configuration to the shards, as snapshots.
#pragma once

#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "gateway/backends/gone_endpoints.h"
#include "gateway/backends/resolver.h"
#include "gateway/connection/snapshot.h"
#include "gateway/observe/discovery_json.h"
#include "gateway/run/checker.h"
#include "gateway/run/client_contexts.h"
#include "gateway/run/config.h"
#include "gateway/run/options.h"
#include "gateway/run/retired.h"
#include "gateway/run/server_contexts.h"
#include "gateway/run/shard_set.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// Makes a snapshot of the configuration and of the addresses of its host names, and gives it to
/// the shards and the metrics. Control thread only, but for what says otherwise.
class Publisher {
 public:
  /// All references outlive it.
  Publisher(const Options& options, const Config& config, const Resolver& resolver,
            ShardSet& shards, Checker& checker, metrics::Registry& registry)
      : config_(config),
        resolver_(resolver),
        shards_(shards),
        checker_(checker),
        registry_(registry),
        contexts_(options.listen, shards.size()),
        backend_contexts_(shards.size() + 1) {}

  /// The configuration must be complete(). The first call starts the shards. The error is why
  /// OpenSSL takes no context of the credentials; the shards then go on with what they have.
  [[nodiscard]] std::expected<void, std::string> publish();

  /// Frees what earlier snapshots had and the shards have dropped since. Call it now and then.
  void free_retired() { retired_.free_unused(); }

  /// Any thread. What was published last; null before the first publish().
  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const;

  /// Any thread. That, and the endpoints that are gone, of the same moment.
  struct Published {
    std::shared_ptr<const Snapshot> snapshot;
    std::vector<GoneEndpoint> gone;
  };
  [[nodiscard]] Published published() const;
  /// Any thread. Brings the metrics of backends up to date: before each scrape.
  void show_backends() const;

  /// Why the newest files of credentials are not in force; nothing: they are.
  void set_refused(std::optional<std::string> why);
  /// Any thread.
  [[nodiscard]] std::optional<std::string> refused() const;

  /// What is known of the discovery file.
  void set_discovery(DiscoveryView view);
  /// Any thread. Null before the first set_discovery().
  [[nodiscard]] std::shared_ptr<const DiscoveryView> discovery() const;

 private:
  [[nodiscard]] std::shared_ptr<const Snapshot> next_snapshot() const;
  void put_in_force(const std::shared_ptr<const Snapshot>& next);
  void retire(const Snapshot& before, const Snapshot& next);

  const Config& config_;
  const Resolver& resolver_;
  ShardSet& shards_;
  Checker& checker_;
  metrics::Registry& registry_;
  ServerContexts contexts_;
  ClientContexts backend_contexts_;  // for the shards, and then the checker
  Retired retired_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Snapshot> snapshot_;
  GoneEndpoints gone_;
  std::optional<std::string> refused_;
  std::shared_ptr<const DiscoveryView> discovery_;
};

}  // namespace sallyport::gateway
