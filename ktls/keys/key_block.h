#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "ktls/keys/suite.h"
#include "ktls/keys/traffic_secret.h"

namespace sallyport::ktls {

/// The key block of TLS 1.2 (RFC 5246 6.3), cut into its directions. It holds no MAC keys: an AEAD
/// has none.
struct KeyBlock {
  TrafficSecret client;  ///< of the records that the client writes
  TrafficSecret server;
};

/// `master_secret`: the extended one of RFC 7627. The randoms are 32 bytes, from the two hellos.
/// Nothing if libcrypto fails (no memory).
std::optional<KeyBlock> key_block(CipherSuite suite, std::span<const std::byte> master_secret,
                                  std::span<const std::byte> client_random,
                                  std::span<const std::byte> server_random);

}  // namespace sallyport::ktls
