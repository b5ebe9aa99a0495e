// Leaving a client so that it learns why.
#pragma once

#include <memory>

#include "gateway/connection/close_reason.h"
#include "gateway/connection/shard_state.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// Shuts the writing side and drains what the peer still sends, for a moment and some bytes at
/// most: closing with unread bytes would make TCP send a reset, which destroys the alert (or the
/// last data) on its way. The caller closes afterwards. Bounded even if nobody cancels it.
iouring::Task<void> part(ShardState& shard, iouring::Socket& client);

/// A fatal alert in plaintext, before any crypto, then part().
iouring::Task<void> part_with_plaintext_alert(ShardState& shard, iouring::Socket& client,
                                              ktls::AlertDescription alert);

/// A fatal alert sealed under the application keys, then part().
iouring::Task<void> part_with_alert(ShardState& shard, ktls::RecordLayer& client,
                                    ktls::AlertDescription alert);

/// close_notify, then part().
iouring::Task<void> part_with_close(ShardState& shard, ktls::RecordLayer& client);

}  // namespace sallyport::gateway
