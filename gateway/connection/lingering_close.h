// Lingering close: the last bytes arrive before the connection goes.
#pragma once

#include <memory>

#include "gateway/connection/close_reason.h"
#include "gateway/connection/shard_state.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// Lingering close: shuts the writing side and drains what the peer still sends, for a second and
/// 256 KiB at most, or 64 MiB of an authenticated peer. Closing with unread bytes would make TCP
/// send a reset, which destroys the alert (or the last data) on its way. The caller closes
/// afterwards. Bounded even where the connection was cancelled.
iouring::Task<void> linger(ShardState& shard, iouring::Socket& client);

/// A fatal alert in plaintext, before any crypto, then linger().
iouring::Task<void> close_with_plaintext_alert(ShardState& shard, iouring::Socket& client,
                                               ktls::AlertDescription alert);

/// A fatal alert sealed under the application keys, then linger().
iouring::Task<void> close_with_alert(ShardState& shard, ktls::RecordLayer& client,
                                     ktls::AlertDescription alert);

/// close_notify, then linger().
iouring::Task<void> close_with_close_notify(ShardState& shard, ktls::RecordLayer& client);

/// A FIN without close_notify, behind everything that was sent, then linger(): for a client whose
/// stream was cut.
iouring::Task<void> close_with_fin(ShardState& shard, ktls::RecordLayer& client);

/// Runs `task` for as long as a lingering close may take, under a scope of its own: the
/// connection's may be cancelled already, which is often why it ends.
iouring::Task<void> within_lingering_time(ShardState& shard, iouring::Task<void> task);

}  // namespace sallyport::gateway
