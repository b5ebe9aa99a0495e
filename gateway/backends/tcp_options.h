#pragma once

namespace sallyport::gateway {

/// Sets the options of both legs of every connection, where they are TCP: NODELAY, and keepalive
/// after 60 s, every 10 s, 6 times. Nothing for other families. `descriptor` is a connection's, or
/// that of the listener it will come from: accepted sockets begin with the listener's options. A
/// failure costs only the option.
void set_tcp_options(int descriptor) noexcept;

}  // namespace sallyport::gateway
