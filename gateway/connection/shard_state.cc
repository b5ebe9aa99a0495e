#include "gateway/connection/shard_state.h"

#include "gateway/connection/backend_linger.h"
#include "gateway/connection/live_connection.h"

namespace sallyport::gateway {

ShardState::ShardState(iouring::Ring& its_ring, iouring::IdleWorker& its_idle_worker,
                       ktls::RecordPools its_pools, const Timeouts& its_timeouts,
                       const EndSettings& its_ends, const RecordChoice& its_records,
                       const HandshakeLimits& handshake_limits, ConnectionLimit& its_limit,
                       ClientLimits& its_client_limits, metrics::ShardMetrics& its_metrics,
                       ConnectionLog& its_log, std::uint64_t seed)
    : ring(its_ring),
      idle_worker(its_idle_worker),
      pools(its_pools),
      timeouts(its_timeouts),
      ends(its_ends),
      records(its_records),
      limit(its_limit),
      client_limits(its_client_limits),
      metrics(its_metrics),
      connection_log(its_log),
      balancer(seed),
      handshake_slots(its_ring, handshake_limits.at_work),
      handshake_memory(handshake_limits.memory),
      peers(its_metrics, wall_time),
      backend_sessions(*this),
      random(seed),
      next_id(random()) {}

ShardState::~ShardState() = default;

WallTime wall_time() {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

}  // namespace sallyport::gateway
