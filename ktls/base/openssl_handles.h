#pragma once

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstddef>
#include <memory>
#include <string>

namespace sallyport::ktls {

/// Deleter that calls one OpenSSL free function.
template <auto Free>
struct OpensslDelete {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};

template <class T, auto Free>
using OpensslPtr = std::unique_ptr<T, OpensslDelete<Free>>;

using BioPtr = OpensslPtr<BIO, BIO_free_all>;
using SslPtr = OpensslPtr<SSL, SSL_free>;
using SslCtxPtr = OpensslPtr<SSL_CTX, SSL_CTX_free>;
using SslSessionPtr = OpensslPtr<SSL_SESSION, SSL_SESSION_free>;
using X509Ptr = OpensslPtr<X509, X509_free>;
using X509CrlPtr = OpensslPtr<X509_CRL, X509_CRL_free>;
using X509StorePtr = OpensslPtr<X509_STORE, X509_STORE_free>;
using EvpPkeyPtr = OpensslPtr<EVP_PKEY, EVP_PKEY_free>;
using EvpMdCtxPtr = OpensslPtr<EVP_MD_CTX, EVP_MD_CTX_free>;
using EvpCipherCtxPtr = OpensslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using EvpKdfCtxPtr = OpensslPtr<EVP_KDF_CTX, EVP_KDF_CTX_free>;
using Asn1IntegerPtr = OpensslPtr<ASN1_INTEGER, ASN1_INTEGER_free>;

inline void free_certificates(STACK_OF(X509) * certificates) noexcept {
  sk_X509_pop_free(certificates, X509_free);
}
/// A stack that holds a reference to each certificate.
using X509StackPtr = OpensslPtr<STACK_OF(X509), free_certificates>;

inline void free_general_names(GENERAL_NAMES* names) noexcept {
  GENERAL_NAMES_free(names);
}
using GeneralNamesPtr = OpensslPtr<GENERAL_NAMES, free_general_names>;

/// Bytes as OpenSSL takes them.
inline unsigned char* raw(std::byte* bytes) noexcept {
  return reinterpret_cast<unsigned char*>(bytes);
}
inline const unsigned char* raw(const std::byte* bytes) noexcept {
  return reinterpret_cast<const unsigned char*>(bytes);
}

/// OpenSSL's reasons for a failure. Making one empties this thread's error queue, so that no entry
/// is taken for the reason of a later failure.
struct OpensslError {
  /// The code of libssl's first entry, which is its most specific one; else of the last entry. 0:
  /// none.
  unsigned long code = 0;
  std::string text;  ///< all entries, nearest first, "; " between; never secret

  /// Takes this thread's whole error queue. `fallback` is the text if the queue is empty.
  static OpensslError drain(std::string fallback = "unknown error");
};

}  // namespace sallyport::ktls
