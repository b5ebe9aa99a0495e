#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "ktls/keys/suite.h"
#include "ktls/keys/traffic_secret.h"

namespace sallyport::ktls {

/// What TLS 1.2 derives for both directions at the end of a handshake: RFC 5246 6.3, without the
/// MAC keys, of which an AEAD has none.
struct KeyBlock {
  TrafficSecret client;  ///< what the client writes under
  TrafficSecret server;
};

/// `master_secret`: the extended one of RFC 7627. The randoms are 32 bytes, from the two hellos.
/// Nothing if libcrypto fails (no memory).
std::optional<KeyBlock> key_block(CipherSuite suite, std::span<const std::byte> master_secret,
                                  std::span<const std::byte> client_random,
                                  std::span<const std::byte> server_random);

}  // namespace sallyport::ktls
