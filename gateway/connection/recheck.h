// Live connections are judged again: when the configuration changes, and as time goes by.
#pragma once

#include <optional>

#include "gateway/connection/live_connection.h"
#include "gateway/connection/shard_state.h"
#include "iouring/task.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

/// The client was let in: it is judged again when its chain expires. What is in force then, and at
/// each change before, is up to recheck_live().
void watch_expiry(const LiveConnection& connection);

/// The connection has a backend now. That is judged by the generation and the time that are now,
/// which may be later than those of its handshake: what comes back is why nothing may be relayed to
/// it. Else it is judged again as its client is; and at once where its endpoint has gone down, or
/// begun to leave, while it was dialled.
[[nodiscard]] std::optional<ktls::HandshakeFailure> judge_new_backend(LiveConnection& connection);

/// Another generation is in force, of credentials or policy: every connection is judged again. One
/// that is let in afterwards is judged by that generation.
void judge_all(ShardState& shard) noexcept;

/// Does so, and ends those that no longer hold what let them in, each for its cause and at its time
/// (EndSettings), unless it holds again by then; backends that speak TLS are judged with them. Also
/// at the clock: expiries are looked at when they are due, and each second, since the clock may be
/// set; everything is judged once a minute, for what expires of the trust. Holds the shard for at
/// most 200 µs at a time. Until its scope is cancelled.
iouring::Task<void> recheck_live(ShardState& shard);

}  // namespace sallyport::gateway
