#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "ktls/traffic_secret.h"

namespace sallyport::ktls {

/// The library context to make an SSL_CTX in (SSL_CTX_new_ex); null is OpenSSL's default one.
///
/// OpenSSL 3.0 and 3.1 walk over every algorithm and every decoder that a context has, some four
/// hundred, for each certificate that a peer sends. That costs more than to verify a signature. So
/// there this is a context of our own that has only what a handshake can use: made by the first
/// call, kept as long as the process. OpenSSL 3.5 remembers what it found and is quick without.
///
/// Its TLS 1.3 key derivation tells of traffic secrets, see SecretTap.
///
/// Null as well where a trial shows that this OpenSSL does not play along, and where the system's
/// openssl.cnf says anything about providers, properties, random numbers or engines: what it says
/// holds for the default context only. Any thread.
OSSL_LIB_CTX* handshake_library();

/// Whether `library` can work with keys of this type. False for SM2 in ours, whose decoder would be
/// asked about every EC key; false for what neither "default" nor we have heard of.
bool knows_key_type(OSSL_LIB_CTX* library, const EVP_PKEY* key);

/// While one lives, the application traffic secrets (RFC 8446 7.1) that this thread's OpenSSL
/// derives in our library go to `client` and `server` too. OpenSSL's own way of telling, the key
/// log, prints five secrets of each handshake in hexadecimal, byte by byte, of which nobody wants
/// three. One at a time in a thread.
class SecretTap {
 public:
  SecretTap(TrafficSecret& client, TrafficSecret& server) noexcept;
  ~SecretTap();
  SecretTap(const SecretTap&) = delete;
  SecretTap& operator=(const SecretTap&) = delete;

  /// What was derived under `label`.
  void take(std::string_view label, std::span<const std::byte> secret) noexcept;

 private:
  TrafficSecret& client_;
  TrafficSecret& server_;
};

}  // namespace sallyport::ktls
