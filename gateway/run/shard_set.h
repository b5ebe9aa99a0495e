// All shards of the process: created, bound to their addresses, started, let listen, updated,
// drained.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/connection/client_limits.h"
#include "gateway/connection/connection_limit.h"
#include "gateway/observe/socket_file.h"
#include "gateway/run/connection_capacity.h"
#include "gateway/run/options.h"
#include "gateway/run/service_manager.h"
#include "gateway/run/shard.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// What a ShardSet is made from. References outlive the set.
struct ShardSetOptions {
  const Options& options;
  const RecordChoice& records;
  metrics::Registry& registry;
  ConnectionLog& connection_log;
  bool can_install = false;        ///< see connection_capacity()
  std::function<void()> on_ended;  ///< called by each shard, on its thread, as its last act
};

/// Control thread only, except where a member is documented otherwise.
class ShardSet {
 public:
  /// Makes the shards and binds all listeners. Ports are not listened on yet: the clients of
  /// another process with the same address notice nothing. Who connects to a unix socket waits.
  /// Null, with the reason logged, where the kernel refuses a ring or an address.
  [[nodiscard]] static std::unique_ptr<ShardSet> create(ShardSetOptions options);
  /// The shards must have been joined, or never started.
  ~ShardSet() = default;
  ShardSet(const ShardSet&) = delete;
  ShardSet& operator=(const ShardSet&) = delete;

  [[nodiscard]] std::size_t size() const { return shards_.size(); }
  /// Checks of endpoints that may be under way at once beside the connections.
  [[nodiscard]] unsigned carried_checks() const { return carried_checks_; }

  /// New connections use `snapshot` and the contexts of their shard (one for each shard, in order)
  /// from now on. Without `contexts` the shards keep theirs for clients. The first call starts the
  /// shards.
  void serve(const std::shared_ptr<const Snapshot>& snapshot,
             const std::vector<TlsContexts>& contexts,
             const std::vector<BackendContexts>& of_backends);
  /// Listens, after the first serve(), as the last step of a start: a start that failed before has
  /// taken no client from a process that it was to stand beside or replace. False, with the reason
  /// logged, where another process took an address meanwhile.
  [[nodiscard]] bool listen();
  /// Any thread. An endpoint went down: see Shard::judge_all().
  void judge_all();
  /// See Shard::drain() and Shard::end_connections().
  void drain();
  void end_connections();
  /// Waits until every shard has ended: drain() first.
  void join();

  /// Any thread: listen() has succeeded.
  [[nodiscard]] bool listening() const { return listening_; }
  /// Any thread, after serve(). Gives the connections from `from` on to `take`, on the thread of
  /// their shard: see Shard::describe().
  void describe(ConnectionCursor from, std::size_t most, TakeSlice take);
  /// The same for peers.
  void describe_peers(PeerCursor from, std::size_t most, WhichPeers which, TakePeers take);
  /// Any thread. A shard that has not turned for a while, as far as somebody wants to know: see
  /// Watchdog::hanging().
  [[nodiscard]] std::optional<std::size_t> hanging() const;
  /// Any thread, one at a time, after serve(). Writes each shard's busy time into its metrics.
  void count_busy_time();

 private:
  explicit ShardSet(ShardSetOptions options, std::uint64_t max_connections);
  [[nodiscard]] bool create_shards(unsigned count, const std::vector<int>& cpus,
                                   const ConnectionCapacity& capacity);
  [[nodiscard]] bool bind_listeners();
  [[nodiscard]] bool bind_listener(const ListenAddress& listen, const Shard::Clients& clients);
  [[nodiscard]] bool bind_egress(const EgressAddress& egress);
  [[nodiscard]] bool bind_unix_egress(const EgressAddress& egress);

  ShardSetOptions options_;
  Timeouts timeouts_;
  EndSettings ends_;
  ConnectionLimit limit_;
  ClientLimits client_limits_;
  std::unique_ptr<Watchdog> watchdog_;  // null: not wanted
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<metrics::ShardMetrics*> metrics_;  // of the shard at the same index
  std::vector<ListenAddress> listeners_;  // in the order of Shard::bind(), with the ports they got
  std::vector<SocketFile> socket_files_;  // of unix sockets
  unsigned carried_checks_ = 0;
  bool started_ = false;
  std::atomic<bool> listening_ = false;
};

}  // namespace sallyport::gateway
