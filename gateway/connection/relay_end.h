// The end of a relay: its reason, and what each side is left with.
#pragma once

#include "gateway/connection/relay.h"
#include "iouring/task.h"

namespace sallyport::gateway {

struct RelayState;

/// Ends a connection that relays for a reason that the client learns by an alert, see
/// alert_of_live(): nothing more of it is passed on, and the alert follows the record that is under
/// way, unless the client does not take that within Timeouts::lingering_close. One that does not
/// relay is ended by LiveConnection::end().
void end_with_alert(LiveConnection& connection, CloseReason reason);

/// Everything behind the pumps, which have ended: what runs beside them is ended, the reason is
/// chosen, and both sides are told it, as relay() says.
[[nodiscard]] iouring::Task<RelayEnd> end_relay(RelayState& state);

}  // namespace sallyport::gateway
