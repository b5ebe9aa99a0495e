#pragma once

#include <openssl/types.h>

#include <string>

namespace sallyport::ktls {

/// A library context of our own, in which OpenSSL is used beyond its public API: its TLS 1.3 key
/// derivation is replaced by a faster one that tells of application secrets (tls13_kdf.h).
struct TunedLibrary {
  OSSL_LIB_CTX* context = nullptr;  ///< for SSL_CTX_new_ex(); null: there is none
  std::string reason;               ///< why there is none
};

/// Made by the first call, kept as long as the process. Any thread.
///
/// OpenSSL 3.0 and 3.1 walk over every algorithm and every decoder that a context has, some four
/// hundred, for each certificate that a peer sends. That costs more than to verify a signature. So
/// there the context has only what a handshake can use. Later versions cache what they found
/// themselves; there it has all that the default context has.
///
/// There is none where a trial shows that this OpenSSL does not play along, and where the system's
/// openssl.cnf says anything about providers, properties, random numbers or engines: what it says
/// holds for the default context only.
const TunedLibrary& tuned_library();

/// Whether `library` can work with keys of this type. False for what neither "default" nor we have
/// heard of, and for what ours has left out: SM2, whose decoder would be asked about every EC key.
bool knows_key_type(OSSL_LIB_CTX* library, const EVP_PKEY* key);

}  // namespace sallyport::ktls
