// Accepts connections; each becomes a task of its own.
#pragma once

#include "gateway/connection/shard_state.h"
#include "iouring/listener.h"
#include "iouring/task.h"
#include "iouring/task_group.h"

namespace sallyport::gateway {

/// Accepts until the listener is stopped and its backlog empty, or until it fails for good
/// (logged). Spawns each connection into `connections`. The references outlive the task and the
/// connections.
iouring::Task<void> accept_connections(ShardState& shard, ServedListener& served,
                                       iouring::Listener& listener,
                                       iouring::TaskGroup& connections);

}  // namespace sallyport::gateway
