#pragma once

#include <openssl/core.h>
#include <openssl/types.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "ktls/keys/traffic_secret.h"

namespace sallyport::ktls {

// What a provider's TLS13-KDF (EVP_KDF-TLS13_KDF(7)) does in our library: OpenSSL asks it for every
// secret, key and iv of a handshake, some twenty of them.

/// Makes `kdf` derive by ktls/keys/key_schedule.h, and tell SecretTap. OpenSSL's own copies each
/// argument and makes three hashes and the lookups for them in each derivation, which costs more
/// than the hashing. What TLS does not ask for goes to OpenSSL's still. False if `kdf` is no KDF.
/// Once, before the provider is in use.
bool override_tls13_kdf(OSSL_ALGORITHM& kdf);

/// Whether the TLS13-KDF of `library` derives what the default context's does, and tells of it.
bool derives_as_openssl(OSSL_LIB_CTX* library);

/// What a TLS 1.3 handshake derives for the time behind it (RFC 8446 7.1, 7.3), each with the
/// record keys where they were derived already.
struct ApplicationSecrets {
  DirectionState client;  ///< what the client writes under
  DirectionState server;  ///< what the server writes under
};

/// Takes the application secrets that this thread's OpenSSL derives in our library while it lives.
/// OpenSSL's own way of telling, the key log, prints five secrets of each handshake in hexadecimal,
/// byte by byte, of which three are not needed. One
/// at a time in a thread.
class SecretTap {
 public:
  /// `secrets` outlives it.
  explicit SecretTap(ApplicationSecrets& secrets) noexcept;
  ~SecretTap();
  SecretTap(const SecretTap&) = delete;
  SecretTap& operator=(const SecretTap&) = delete;

  /// What was derived under `label`.
  void take(std::string_view label, std::span<const std::byte> derived) noexcept;

 private:
  ApplicationSecrets& secrets_;
};

}  // namespace sallyport::ktls
