#pragma once

#include <openssl/types.h>

#include <string>

namespace sallyport::ktls {

/// A library context of our own, in which OpenSSL is used beyond its public API: its TLS 1.3 key
/// derivation is replaced by a faster one that reports application secrets (tls13_kdf.h).
struct TunedLibrary {
  OSSL_LIB_CTX* context = nullptr;  ///< for SSL_CTX_new_ex(); null: not available
  std::string reason;               ///< why it is not available
};

/// Made by the first call, kept as long as the process. Any thread.
///
/// OpenSSL 3.0 and 3.1 walk over every algorithm and every decoder that a context has, some four
/// hundred, for each certificate that a peer sends. That costs more than to verify a signature. So
/// there the context has only the algorithms that a handshake can use. Later versions cache what
/// they found; there it has all that the default context has.
///
/// It is not available where a trial shows that this OpenSSL does not take the overrides, nor where
/// the system's openssl.cnf has settings of providers, properties, random numbers or engines: these
/// hold for the default context only.
const TunedLibrary& tuned_library();

/// Whether `library` supports keys of this type. False for types that neither "default" nor ours
/// has, and for the one that ours leaves out: SM2, whose decoder would be tried on every EC key.
bool supports_key_type(OSSL_LIB_CTX* library, const EVP_PKEY* key);

}  // namespace sallyport::ktls
