// The moment at which a connection that relays may end with close_notify.
#pragma once

#include "gateway/connection/close_reason.h"
#include "gateway/connection/live_connection.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// Ends a connection that relays for `reason` at its next quiet moment, with close_notify: nothing
/// moved for Timeouts::still, nothing is unacknowledged, neither side has ended, and the last bytes
/// came from the backend or none came. Until then it goes on. Nothing happens where it does not
/// relay, or was asked before.
void end_when_quiet(LiveConnection& connection, CloseReason reason);

/// Takes end_when_quiet() for `reason` back, where the connection did not end yet.
void end_no_more_when_quiet(LiveConnection& connection, CloseReason reason);

/// Sets RelayState::quiet: whether this is such a moment.
iouring::Task<void> find_quiet(RelayState& state);

}  // namespace sallyport::gateway
