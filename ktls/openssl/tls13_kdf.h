#pragma once

#include <openssl/core.h>
#include <openssl/types.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "ktls/keys/traffic_secret.h"

namespace sallyport::ktls {

// The TLS13-KDF (EVP_KDF-TLS13_KDF(7)) of our library: OpenSSL derives every secret, key and iv of
// a handshake by it, some twenty of them.

/// Makes `kdf` derive by ktls/keys/key_schedule.h, and report to SecretTap. OpenSSL's own copies
/// each argument and makes three hashes and the lookups for them in each derivation, which costs
/// more than the hashing. Derivations that TLS 1.3 does not need still go to OpenSSL's. False if
/// `kdf` is no KDF. Once, before the provider is in use.
bool override_tls13_kdf(OSSL_ALGORITHM& kdf);

/// Whether the TLS13-KDF of `library` derives what the default context's does, and reports it to
/// SecretTap.
bool derives_as_openssl(OSSL_LIB_CTX* library);

/// The application traffic secrets of a TLS 1.3 handshake (RFC 8446 7.1, 7.3), each with its record
/// keys where they were derived already.
struct ApplicationSecrets {
  DirectionState client;  ///< what the client writes under
  DirectionState server;  ///< what the server writes under
};

/// Takes the application secrets that this thread's OpenSSL derives in our library while it lives.
/// The alternative in OpenSSL's public API, the key log, prints five secrets of each handshake in
/// hexadecimal, byte by byte, of which three are not needed. One at a time in a thread.
class SecretTap {
 public:
  /// `secrets` outlives it.
  explicit SecretTap(ApplicationSecrets& secrets) noexcept;
  ~SecretTap();
  SecretTap(const SecretTap&) = delete;
  SecretTap& operator=(const SecretTap&) = delete;

  /// Called with each secret that was derived, and its label.
  void take(std::string_view label, std::span<const std::byte> derived) noexcept;

 private:
  ApplicationSecrets& secrets_;
};

}  // namespace sallyport::ktls
