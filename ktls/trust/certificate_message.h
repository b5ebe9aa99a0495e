#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "ktls/keys/suite.h"

namespace sallyport::ktls {

/// The largest Certificate message that is accepted from a peer. Three certificates with
/// ML-DSA-87 have 23 KiB.
inline constexpr std::size_t kMaxCertificateMessage = std::size_t{32} << 10;

/// Why the certificates of a peer's Certificate message are not to be decoded (RFC 8446 4.4.2, RFC
/// 5246 7.4.2; with its header). OpenSSL decodes each and its public key before it verifies
/// anything, and an elliptic curve may take it 0.1 s where it is given by its parameters, which RFC
/// 5480 2.1.1 forbids in certificates. Refused are:
/// - more than 10 certificates: no chain of ours is longer;
/// - a key on a curve without a name;
/// - a certificate up to whose key there is anything but DER of definite length.
///
/// A message that is malformed in itself is left to OpenSSL, which decodes no more of it than was
/// looked at here.
std::optional<std::string> refuse_certificates(std::span<const std::byte> message,
                                               RecordVersion version);

/// Whether the key of a certificate may be decoded; false also if it is not found.
bool has_plain_key(std::span<const std::byte> certificate);

}  // namespace sallyport::ktls
