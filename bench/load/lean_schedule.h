// The key schedule of RFC 8446 section 7.1 for TLS_AES_256_GCM_SHA384, from SHA-384 up: the
// providers' HKDF of OpenSSL 3.0 costs more than the hashing.
#pragma once

#include <openssl/sha.h>

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace sallyport::bench::lean {

constexpr size_t kHashSize = SHA384_DIGEST_LENGTH;
using Hash = std::array<std::byte, kHashSize>;
using Bytes = std::span<const std::byte>;

Hash sha384(Bytes data);

/// The running hash of the handshake messages (RFC 8446 4.4.1).
class Transcript {
 public:
  Transcript();
  void add(Bytes message);
  Hash hash() const;

 private:
  SHA512_CTX context_;
};

Hash hmac(Bytes key, Bytes data);
inline Hash hkdf_extract(Bytes salt, Bytes secret) {
  return hmac(salt, secret);
}

/// At most kHashSize bytes of output, which is all that TLS asks for with this suite.
Hash expand_label(Bytes secret, std::string_view label, Bytes context, size_t length = kHashSize);

/// Derive-Secret with the transcript already hashed.
inline Hash derive_secret(Bytes secret, std::string_view label, const Hash& transcript) {
  return expand_label(secret, label, transcript);
}

/// verify_data of Finished, and a PSK binder (RFC 8446 4.4.4).
Hash finished_mac(const Hash& base_key, const Hash& transcript);

}  // namespace sallyport::bench::lean
