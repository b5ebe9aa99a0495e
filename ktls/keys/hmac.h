#pragma once

#include <cstddef>
#include <span>

#include "ktls/keys/suite.h"

namespace sallyport::ktls {

/// HMAC (RFC 2104) with the suite's hash; hash_size(suite) bytes at `out`. `key` is at most one
/// block of the hash long, 64 bytes of SHA-256 and 128 of SHA-384: anything longer is a broken
/// invariant and aborts, as does a failing libcrypto. Leaves no secret behind. Any thread; each has
/// its own hash state, so that no message pays for creating, fetching or counting one.
void hmac(CipherSuite suite, std::span<const std::byte> key, std::span<const std::byte> message,
          std::byte* out) noexcept;

/// The suite's hash of no bytes; hash_size(suite) bytes at `out`.
void hash_of_nothing(CipherSuite suite, std::byte* out) noexcept;

}  // namespace sallyport::ktls
