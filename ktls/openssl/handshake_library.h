#pragma once

#include <openssl/types.h>

namespace sallyport::ktls {

/// The library context to make an SSL_CTX in (SSL_CTX_new_ex): one of our own, made by the first
/// call, kept as long as the process. Its TLS 1.3 key derivation is quick, and tells of traffic
/// secrets (ktls/openssl/tls13_kdf.h); it remembers clients' public keys
/// (ktls/openssl/spki_cache.h).
///
/// OpenSSL 3.0 and 3.1 walk over every algorithm and every decoder that a context has, some four
/// hundred, for each certificate that a peer sends. That costs more than to verify a signature. So
/// there it has only what a handshake can use, and remembers keys: ktls/openssl/spki_cache.h. Later
/// versions remember what they found themselves; there it has all that the default context has.
///
/// Null, which is OpenSSL's default context, where a trial shows that this OpenSSL does not play
/// along, and where the system's openssl.cnf says anything about providers, properties, random
/// numbers or engines: what it says holds for the default context only. Any thread.
OSSL_LIB_CTX* handshake_library();

/// Whether `library` can work with keys of this type. False for what neither "default" nor we have
/// heard of, and for what ours has left out: SM2, whose decoder would be asked about every EC key.
bool knows_key_type(OSSL_LIB_CTX* library, const EVP_PKEY* key);

}  // namespace sallyport::ktls
