#include "gateway/connection/shard_state.h"

#include "gateway/connection/handshake.h"
#include "gateway/connection/live_connection.h"

namespace sallyport::gateway {
namespace {

// How many handshakes may wait for their peer for each that may have work: at 512, 2,048 of them,
// 60 to 100 MiB. A ClientHello of 128 KiB, the largest that OpenSSL takes, makes it 360 KiB for
// one.
constexpr std::size_t kWaitingPerSlot = 4;

}  // namespace

ShardState::ShardState(iouring::Ring& its_ring, iouring::IdleWorker& its_idle_worker,
                       ktls::RecordPools its_pools, const Timeouts& its_timeouts,
                       const RecordChoice& its_records, unsigned max_handshakes,
                       ConnectionLimit& its_limit, metrics::ShardMetrics& its_metrics,
                       ConnectionLog& its_log, std::uint64_t seed)
    : ring(its_ring),
      idle_worker(its_idle_worker),
      pools(its_pools),
      timeouts(its_timeouts),
      records(its_records),
      limit(its_limit),
      metrics(its_metrics),
      connection_log(its_log),
      balancer(seed),
      handshake_slots(its_ring, max_handshakes),
      most_waiting(kWaitingPerSlot * max_handshakes),
      random(seed),
      next_id(random()) {}

ShardState::~ShardState() = default;

}  // namespace sallyport::gateway
