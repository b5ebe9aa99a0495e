#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "ktls/keys/suite.h"

namespace sallyport::ktls {

// HKDF (RFC 5869) as the key schedule of TLS 1.3 uses it (RFC 8446 7.1), with the suite's hash.
// Secrets and salts are at most one hash long, as they always are in TLS 1.3: anything else is a
// broken invariant and aborts, as does a failing libcrypto. Leaves no secret behind. Any thread.

/// HKDF-Expand-Label(secret, label, context, out.size()). `label` goes without kLabelPrefix,
/// at most kMaxLabel bytes; `out` is at most one hash long and `context` at most one hash.
void expand_label(CipherSuite suite, std::span<const std::byte> secret, std::string_view label,
                  std::span<const std::byte> context, std::span<std::byte> out) noexcept;
inline constexpr std::string_view kLabelPrefix = "tls13 ";
inline constexpr std::size_t kMaxLabel = 26;

/// HKDF-Extract(salt, input), one hash into `out`. An empty salt stands for one of zeros.
void extract(CipherSuite suite, std::span<const std::byte> salt, std::span<const std::byte> input,
             std::span<std::byte> out) noexcept;

/// The next secret on the way from early to master secret:
/// HKDF-Extract(Derive-Secret(secret, "derived", ""), input), one hash into `out`.
void next_stage(CipherSuite suite, std::span<const std::byte> secret,
                std::span<const std::byte> input, std::span<std::byte> out) noexcept;

}  // namespace sallyport::ktls
