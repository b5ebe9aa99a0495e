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
bool quicken_tls13_kdf(OSSL_ALGORITHM& kdf);

/// Whether the TLS13-KDF of `library` derives what the default context's does, and tells of it.
bool derives_as_openssl(OSSL_LIB_CTX* library);

/// While one lives, what this thread's OpenSSL derives in our library goes to whoever listens, too:
/// the application traffic secrets with their keys (RFC 8446 7.1, 7.3), the client's to `state.rx`
/// and the server's to `state.tx`, and the resumption master secret to `resumption`. OpenSSL's own
/// way of telling, the key log, prints five secrets of each handshake in hexadecimal, byte by byte,
/// of which nobody wants three, and does not tell of the last. One at a time in a thread.
class SecretTap {
 public:
  SecretTap(SessionState& state, TrafficSecret& resumption) noexcept;
  ~SecretTap();
  SecretTap(const SecretTap&) = delete;
  SecretTap& operator=(const SecretTap&) = delete;

  /// What was derived of `secret` under `label`.
  void take(std::span<const std::byte> secret, std::string_view label,
            std::span<const std::byte> derived) noexcept;

 private:
  SessionState& state_;
  TrafficSecret& resumption_;
  RecordKey next_;  ///< OpenSSL derives a key, then its iv
};

}  // namespace sallyport::ktls
