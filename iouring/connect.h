#pragma once
// Connecting a new socket to an address.
#include "iouring/address.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// Connects a stream socket (TCP over IPv4 or IPv6, unix). Errors: connect(2)'s, socket(2)'s
/// (EMFILE), ECANCELED. While the backlog of a unix socket is full it waits, without a
/// thread. A connection that was established while the scope was being cancelled is delivered.
[[nodiscard]] Task<Result<Socket>> connect(Ring& ring, SocketAddress address);

}  // namespace sallyport::iouring
