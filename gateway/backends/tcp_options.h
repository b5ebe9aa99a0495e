#pragma once

#include "iouring/socket.h"

namespace sallyport::gateway {

// What both legs of every connection get, where they are TCP: NODELAY, and keepalive after 60 s,
// every 10 s, 6 times. Nothing for other families. `socket` has an ordinary descriptor. A failure
// costs only the option.
void set_tcp_options(iouring::Socket& socket) noexcept;

}  // namespace sallyport::gateway
