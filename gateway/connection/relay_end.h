// The end of a relay: its reason, and what each side is left with.
#pragma once

#include "gateway/connection/relay.h"
#include "iouring/task.h"

namespace sallyport::gateway {

struct RelayState;

/// Everything behind the pumps, which have ended: what runs beside them is ended, the reason is
/// chosen, and both sides are told it, as relay() says.
[[nodiscard]] iouring::Task<RelayEnd> end_relay(RelayState& state);

}  // namespace sallyport::gateway
