#pragma once

#include <string_view>

namespace sallyport::ktls {

/// OpenSSL's level 2: RSA from 2048 bits, no SHA-1 in signatures. Set by us, so that a system's
/// openssl.cnf does not decide whom the gateway believes.
inline constexpr int kSecurityLevel = 2;
/// Certificates between leaf and anchor.
inline constexpr int kMaxIntermediates = 8;

/// Names how chains are judged; part of the trust digest. Change it whenever a chain that passed
/// before would not pass any more, or the other way round.
inline constexpr std::string_view kVerifySettings =
    "sallyport trust v1; purpose=sslclient; anchors=self-signed; level=2; intermediates=8";

}  // namespace sallyport::ktls
