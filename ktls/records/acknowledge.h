#pragma once

#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::ktls {

/// Has TCP acknowledge what was received, once and now; it would wait up to 40 ms for data of ours
/// that the acknowledgement could travel with, and a peer with Nagle's algorithm sends nothing
/// small before it has that. The kernel sends none while there is more to read: such a peer does
/// not wait. Does nothing on other sockets. Done even in a cancelled scope.
[[nodiscard]] iouring::Task<void> acknowledge(iouring::Socket& socket);

}  // namespace sallyport::ktls
