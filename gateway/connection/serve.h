// A connection from accept to close: its phases in order.
#pragma once

#include "gateway/connection/shard_state.h"
#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// Serves one client from accept to close. Everything that can end it ends here, with its reason.
iouring::Task<void> serve(ShardState& shard, ServedListener& listener, iouring::Socket socket);

}  // namespace sallyport::gateway
