#pragma once

#include <cstdint>
#include <optional>

namespace sallyport::ktls {

/// How many bytes TCP was ever given to send on this connection. The count starts at 0 or, where
/// the SYN counts, at 1, so only differences mean something. Nothing once the connection is closed
/// or if `descriptor` is no TCP socket.
std::optional<std::uint64_t> bytes_given_to_tcp(int descriptor) noexcept;

}  // namespace sallyport::ktls
