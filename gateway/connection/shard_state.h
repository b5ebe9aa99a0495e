// What the connections of one shard share.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "gateway/backends/balance.h"
#include "gateway/connection/backend_sessions.h"
#include "gateway/connection/connection_facts.h"
#include "gateway/connection/connection_limit.h"
#include "gateway/connection/fair_slots.h"
#include "gateway/connection/handshake_memory.h"
#include "gateway/connection/local_hosts.h"
#include "gateway/connection/local_user.h"
#include "gateway/connection/negotiated.h"
#include "gateway/connection/peer_table.h"
#include "gateway/connection/pending_ends.h"
#include "gateway/connection/record_choice.h"
#include "gateway/connection/snapshot.h"
#include "gateway/policy/live_cause.h"
#include "iouring/address.h"
#include "iouring/cancel.h"
#include "iouring/idle_worker.h"
#include "iouring/ip_network.h"
#include "iouring/list.h"
#include "iouring/ring.h"
#include "ktls/handshake/client_context.h"
#include "ktls/handshake/server_context.h"
#include "ktls/records/record_layer.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

class ClientLimits;
class LingeringConnection;
class LiveConnection;
class LiveWalk;

/// Zero means off.
struct Timeouts {
  std::chrono::milliseconds handshake{10'000};   ///< from accept until records begin
  std::chrono::milliseconds connect{3'000};      ///< to a backend, all attempts together
  std::chrono::milliseconds half_close{60'000};  ///< silence once one side has ended
  std::chrono::milliseconds idle{0};             ///< silence of both sides
  std::chrono::milliseconds lifetime{0};         ///< less up to a tenth, by chance
  // No flags, and not off.
  std::chrono::milliseconds tickets{10'000};  ///< for a client to take them, without `handshake`
  std::chrono::milliseconds backend_tickets{1'000};  ///< for a server to send its tickets
  std::chrono::milliseconds lingering_close{1'000};  ///< for a client to take an end and close
  std::chrono::milliseconds round{10'000};           ///< between two looks at a connection
  std::chrono::milliseconds owes{110'000};           ///< unheard, and an acknowledgement is due
  std::chrono::milliseconds still{1'000};            ///< nothing moved: a quiet moment
  std::chrono::milliseconds answered{1'000};         ///< silence of a backend that has answered
  std::chrono::milliseconds unanswered{10'000};      ///< silence of one that has not
  std::chrono::milliseconds lingering{60'000};       ///< longest_linger() where half_close is off

  /// How long one side is kept for its own sake once the other is gone.
  [[nodiscard]] std::chrono::milliseconds longest_linger() const {
    return half_close.count() > 0 ? half_close : lingering;
  }
};

/// How live connections end that what let them in holds no longer for.
struct EndSettings {
  LiveCauses keep;                                   ///< --keep-live
  std::chrono::milliseconds end_spread{5'000};       ///< --end-spread
  std::chrono::milliseconds expiry_spread{600'000};  ///< --expiry-spread
};

/// By which certificates expire; it may be set back and forth while the process runs.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
[[nodiscard]] WallTime wall_time();

/// What the judgement of live connections has still to do, see recheck_live().
struct Recheck {
  bool due = false;                           ///< of all: another generation is in force
  WallTime soonest_expiry = WallTime::max();  ///< with which the clock has to do something
  iouring::CancelScope* sleeping = nullptr;   ///< set while it sleeps
  PendingEnds ends;
};

/// Of one shard.
struct HandshakeLimits {
  unsigned at_work = 512;                      ///< --max-handshakes
  std::size_t memory = std::size_t{64} << 20;  ///< bytes, --handshake-memory
};

/// Of a connection that a proxy has opened for a client.
struct ProxiedEnds {
  iouring::PeerAddress proxy;        ///< of the socket
  iouring::PeerAddress destination;  ///< that the client connected to
};

/// A --listen or an --egress, as this shard serves it.
struct ServedListener {
  std::string text;  ///< as configured: metric label and log value
  metrics::ListenerCells& cells;
  std::string egress_route = {};     ///< of an --egress; empty: a --listen
  bool starttls_postgresql = false;  ///< TLS begins behind PostgreSQL's SSLRequest, or at once
};

/// A shard's TLS contexts, one for each of Policy::files(): where Route::files says. Handshakes
/// begin with the first.
using TlsContexts = std::shared_ptr<const std::vector<std::shared_ptr<ktls::ServerContext>>>;

/// Its contexts towards backends, one for each of Policy::routes() of its snapshot; null: a route
/// without `backend-tls`.
using BackendContexts = std::shared_ptr<const std::vector<std::shared_ptr<ktls::ClientContext>>>;

/// One per shard, of its thread alone. Everything in it outlives the connections.
struct ShardState {
  ShardState(iouring::Ring& its_ring, iouring::IdleWorker& its_idle_worker,
             ktls::RecordPools its_pools, const Timeouts& its_timeouts, const EndSettings& its_ends,
             const RecordChoice& its_records, const HandshakeLimits& handshake_limits,
             ConnectionLimit& its_limit, ClientLimits& its_client_limits,
             metrics::ShardMetrics& its_metrics, ConnectionLog& its_log, std::uint64_t seed);
  ~ShardState();
  ShardState(const ShardState&) = delete;
  ShardState& operator=(const ShardState&) = delete;

  iouring::Ring& ring;
  iouring::IdleWorker& idle_worker;  ///< for handshakes
  ktls::RecordPools pools;
  const Timeouts& timeouts;
  const EndSettings& ends;
  const RecordChoice& records;
  ConnectionLimit& limit;
  ClientLimits& client_limits;
  metrics::ShardMetrics& metrics;
  ConnectionLog& connection_log;
  Balancer balancer;
  FairSlots handshake_slots;
  HandshakeMemory handshake_memory;
  NegotiatedPool negotiated;
  LocalHosts local_hosts;
  std::unordered_map<std::uint64_t, ProxiedEnds> proxied;    ///< by LiveConnection::number()
  std::unordered_map<std::uint64_t, LocalUser> local_users;  ///< likewise
  PeerTable peers;
  BackendSessions backend_sessions;
  std::mt19937_64 random;
  std::uint64_t next_id;  ///< counts up from a random start, so that ids of two runs differ

  /// Replaced as one when the control thread sends new ones; never null while serving.
  std::shared_ptr<const Snapshot> snapshot;
  TlsContexts tls;
  BackendContexts backend_tls;

  /// --accept-proxy: what connects from there begins with a PROXY header. Outlives the shard.
  std::span<const iouring::IpNetwork> accept_proxy{};

  WallTime (*now)() = wall_time;  ///< tests give their own
  Recheck recheck;

  /// When bytes of a connection passed last that was established for a while.
  iouring::TimePoint relayed_at{};

  iouring::List<LiveConnection> live;            ///< oldest first
  std::size_t live_count = 0;                    ///< of them: to count them takes milliseconds
  iouring::List<LiveWalk> walks;                 ///< over them
  iouring::List<LingeringConnection> lingering;  ///< those of them that linger, likewise
};

}  // namespace sallyport::gateway
