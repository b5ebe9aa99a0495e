#pragma once
// Connecting a new socket to an address.
#include <cstdint>

#include "iouring/address.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// What follows a connect.
enum class FirstBytes : std::uint8_t {
  kLater,   ///< not known
  kAtOnce,  ///< we send as soon as it is connected: TCP's acknowledgement goes with that, no
            ///< segment of its own, or alone after 200 ms
};

/// Connects a stream socket (TCP over IPv4 or IPv6, unix). Errors: connect(2)'s, socket(2)'s
/// (EMFILE), ECANCELED. While the backlog of a unix socket is full it waits, without a
/// thread. A connection that was established while the scope was being cancelled is delivered.
[[nodiscard]] Task<Result<Socket>> connect(Ring& ring, SocketAddress address,
                                           FirstBytes first = FirstBytes::kLater);
/// Likewise with a socket that was connected before, with the same `first`: TCP, of the family of
/// the address, not connected now and not in the registered table.
[[nodiscard]] Task<Result<Socket>> connect(Socket socket, SocketAddress address);

}  // namespace sallyport::iouring
