// A round's look at a connection that relays.
#pragma once

#include "gateway/connection/live_connection.h"

namespace sallyport::gateway {

/// A round's look at a connection: asks it to end where its lifetime is almost over, and ends it
/// where a peer has owed an acknowledgement for Timeouts::owes in two rounds in a row, as
/// client_reset or backend_reset. Keepalive does not probe while something is under way, and the
/// kernel gives up only after a quarter of an hour. Nothing happens where it does not relay.
/// True where the kernel is asked about both peers, which costs the shard some microseconds.
bool look_at(LiveConnection& connection);

}  // namespace sallyport::gateway
