#pragma once

#include <string_view>

namespace sallyport::ktls {

/// OpenSSL's level 2: RSA from 2048 bits, no SHA-1 in signatures. Set by us, so that a system's
/// openssl.cnf does not decide which chains are accepted.
inline constexpr int kSecurityLevel = 2;
/// Certificates between leaf and anchor.
inline constexpr int kMaxIntermediates = 8;

/// What the extended key usage of a client's certificate is worth.
enum class ClientEku {
  kRequire,    ///< it must be there, with clientAuth
  kIfPresent,  ///< if it is there, it must have clientAuth
  kIgnore,     ///< not looked at, nor is that of intermediates
};

/// A text for the rules by which chains are verified, beside those of HandshakeSettings; part of
/// the trust digest. Change it whenever a chain that passed before would not pass any more, or the
/// other way round.
inline constexpr std::string_view kVerifySettings =
    "sallyport trust v3; purpose=sslclient; level=2; intermediates=8";

}  // namespace sallyport::ktls
