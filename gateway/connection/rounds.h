// What is done with all connections of a shard, one after another, beside serving them.
#pragma once

#include <chrono>

#include "gateway/connection/shard_state.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// Looks at every connection each Timeouts::round (look_at()), a few at a time: a request waits for
/// some tens of microseconds. With 80,000 that all relay a round takes longer than that.
/// Until its scope is cancelled.
iouring::Task<void> make_rounds(ShardState& shard);

/// Asks every connection in turn, evenly over `time`, to end at its next quiet moment as `drain`
/// (end_when_quiet()), and then again those that were not relayed yet. Until its scope is
/// cancelled.
iouring::Task<void> drain_evenly(ShardState& shard, std::chrono::milliseconds time);

}  // namespace sallyport::gateway
