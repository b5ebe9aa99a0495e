#pragma once

#include <optional>
#include <string>

#include "iouring/address.h"

namespace sallyport::gateway {

/// What is to be said of bind(2)'s `error` for an address: its text, and what is behind it or to be
/// done where the address is in use or forbidden, or this machine has no such address, or no IPv6
/// at all.
[[nodiscard]] std::string bind_error_text(const iouring::SocketAddress& address, int error);

/// Why this machine cannot listen on `address`, whatever the port: bind_error_text() of a trial on
/// a free port. Nothing where it can. An address in use is no reason.
[[nodiscard]] std::optional<std::string> unusable_address(const iouring::SocketAddress& address);

/// Why this machine cannot listen on `address` now. Nothing where it can, or it is a unix socket.
[[nodiscard]] std::optional<std::string> bound_elsewhere(const iouring::SocketAddress& address);

/// No interface of this network namespace has an IPv6 address: nothing arrives even on [::].
[[nodiscard]] bool ipv6_is_off();

}  // namespace sallyport::gateway
