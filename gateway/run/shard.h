// One core's share of the gateway: a thread, its ring, its listeners, its connections.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "gateway/connection/connection_slice.h"
#include "gateway/connection/live_connection.h"
#include "gateway/connection/peer_slice.h"
#include "gateway/connection/shard_state.h"
#include "gateway/connection/warm_pool.h"
#include "gateway/run/fault_plan.h"
#include "gateway/run/service_manager.h"
#include "iouring/block_pool.h"
#include "iouring/buffer_ring.h"
#include "iouring/idle_worker.h"
#include "iouring/inbox.h"
#include "iouring/ip_network.h"
#include "iouring/listener.h"
#include "iouring/ring.h"
#include "iouring/task_group.h"
#include "ktls/records/cipher_contexts.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// What shards are made from. References outlive the shards.
struct ShardOptions {
  unsigned index = 0;
  unsigned shards = 1;     ///< of the process
  std::size_t warm = 0;    ///< connections to endpoints that may wait for a client
  std::optional<int> cpu;  ///< to pin to
  unsigned registered_descriptors = 0;
  HandshakeLimits handshakes;
  std::chrono::microseconds busy_poll{0};
  std::chrono::microseconds wake_coalescing{0};
  std::chrono::milliseconds drain_timeout{30'000};  ///< zero: as long as it takes
  const Timeouts& timeouts;
  const EndSettings& ends;
  const RecordChoice& records;
  std::span<const iouring::IpNetwork> accept_proxy{};
  std::string zone;  ///< ours; empty: none
  ConnectionLimit& limit;
  ClientLimits& client_limits;
  metrics::ShardMetrics& metrics;
  ConnectionLog& connection_log;
  Watchdog* watchdog = nullptr;    ///< null: nobody wants to know whether it turns
  std::function<void()> on_ended;  ///< called on the shard's thread as its last act
};

class Shard {
 public:
  /// Who connects to a listener: as in ServedListener.
  struct Clients {
    std::string egress_route = {};
    bool starttls_postgresql = false;
  };

  /// Makes the ring; binds nothing yet.
  [[nodiscard]] static std::expected<std::unique_ptr<Shard>, std::string> create(
      ShardOptions options);
  /// The thread must have been joined, or never started.
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  /// Before start(). Takes an address without listening on it yet. `text` is the label; `address`
  /// may have port 0. The address that it got, or bind(2)'s error.
  [[nodiscard]] iouring::Result<iouring::SocketAddress> bind(const std::string& text,
                                                             const iouring::SocketAddress& address,
                                                             iouring::ListenOptions options,
                                                             Clients clients);
  /// The same for a unix socket that is bound already, a duplicate for each shard.
  [[nodiscard]] iouring::Result<> adopt(const std::string& text, iouring::FileDescriptor bound,
                                        Clients clients);

  /// Starts the thread, which accepts once listen() was called.
  void start(std::shared_ptr<const Snapshot> snapshot, TlsContexts tls,
             BackendContexts backend_tls);
  void join();

  /// After start(), once. Listens on all its addresses. The first shard of the process excludes all
  /// other sockets and lets them join afterwards; `beside_others` is for the shards that join.
  struct ListenError {
    std::size_t listener = 0;  ///< in the order of bind()
    iouring::Errno error;
  };
  [[nodiscard]] std::expected<void, ListenError> listen(bool beside_others);

  // From any thread, after start(). A shard that has ended ignores these.

  /// New connections use these from now on; without `tls`, the contexts that are there.
  void update(std::shared_ptr<const Snapshot> snapshot, TlsContexts tls,
              BackendContexts backend_tls);
  /// Live connections are judged again: their endpoints may have gone down.
  void judge_all();
  /// Stops accepting without losing a connection; those that live have until the drain timeout.
  void drain();
  /// Ends what lingers, as far as --max-connections needs its places.
  void end_lingering();
  /// Ends what still lives, now.
  void end_connections();
  /// Gives up to `most` connections to `take` on the shard's thread, oldest first: those behind the
  /// one of number `after`, as many as it describes in its turn of half a millisecond. The cursor
  /// of the slice is of this shard; none behind the last. A shard that has ended has none, and
  /// calls `take` at once; one that ends meanwhile may never call it.
  void describe(std::optional<std::uint64_t> after, std::size_t most, TakeSlice take);
  /// The same for its peers, behind the entry of number `after`: see PeerTable::describe().
  void describe_peers(std::uint64_t after, std::size_t most, WhichPeers which, TakePeers take);
  /// Of its event loop and of its handshakes.
  [[nodiscard]] std::chrono::nanoseconds busy_time() const {
    return ring_->busy_time() + idle_worker_->cpu_time();
  }

 private:
  struct Bound {
    std::unique_ptr<iouring::Listener> listener;
    ServedListener served;
  };

  Shard(ShardOptions options, std::unique_ptr<iouring::Ring> ring,
        std::unique_ptr<iouring::IdleWorker> idle_worker,
        std::unique_ptr<iouring::BufferRing> small, std::unique_ptr<iouring::BufferRing> whole);
  void add(const std::string& text, std::unique_ptr<iouring::Listener> listener, Clients clients);
  void thread_main();
  void pin() const;
  void start_idle_worker() const;
  iouring::Task<void> run();
  iouring::Task<void> feed_watchdog();
  iouring::Task<void> stop_listeners();
  iouring::Task<void> end_within_drain_timeout();
  void end_all();
  std::expected<void, ListenError> listen_on_all(bool beside_others);
  [[nodiscard]] ConnectionSlice describe_some(std::optional<std::uint64_t> after, std::size_t most);

  ShardOptions options_;
#ifdef SALLYPORT_FAULTS
  std::unique_ptr<iouring::FaultPlan> faults_;  // outlives the ring that obeys it
#endif
  std::unique_ptr<iouring::Ring> ring_;
  std::unique_ptr<iouring::BufferRing> small_;
  std::unique_ptr<iouring::BufferRing> whole_;
  std::unique_ptr<iouring::IdleWorker> idle_worker_;
  iouring::BlockPool blocks_;
  ktls::CipherContexts contexts_;
  ShardState state_;
  WarmPool warm_;
  std::vector<std::unique_ptr<Bound>> listeners_;
  std::unique_ptr<iouring::Inbox> inbox_;
  // Of the shard's thread: while run() runs.
  iouring::TaskGroup connections_;
  iouring::TaskGroup chores_;
  bool draining_ = false;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

}  // namespace sallyport::gateway
