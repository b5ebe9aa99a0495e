#pragma once

#include <string_view>

namespace sallyport::ktls {

/// OpenSSL's level 2: RSA from 2048 bits, no SHA-1 in signatures. Set by us, so that a system's
/// openssl.cnf does not decide which chains are accepted.
inline constexpr int kSecurityLevel = 2;
/// Certificates between leaf and anchor.
inline constexpr int kMaxIntermediates = 8;

/// A text for the rules by which chains are verified; part of the trust digest. Change it whenever
/// a chain that passed before would not pass any more, or the other way round.
inline constexpr std::string_view kVerifySettings =
    "sallyport trust v2; purpose=sslclient; anchors=self-signed; level=2; intermediates=8";

}  // namespace sallyport::ktls
