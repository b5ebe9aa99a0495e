#pragma once

#include <openssl/core.h>

namespace sallyport::ktls {

/// A decoder of public keys on elliptic curves that remembers what it decoded: OpenSSL makes the
/// curve anew for every key, and a gateway meets the same keys, of clients and of their
/// issuers, again and again. Equal bytes, equal key: it gives out copies of what OpenSSL's own
/// decoder made of them. Public keys only, the latest 256 of each thread.
///
/// This puts it in the place of `decoder`, OpenSSL's own for SubjectPublicKeyInfo of type EC;
/// `keys` is the key management for the same type. Once in a process, and for as long as it lives.
/// False if one of them lacks a function that is needed.
bool override_ec_decoder(OSSL_ALGORITHM& decoder, const OSSL_ALGORITHM& keys);

/// Then, before the first key is decoded: what OpenSSL offers to the provider that has the decoder.
/// False as above.
bool set_spki_cache_core(const OSSL_DISPATCH* core);

}  // namespace sallyport::ktls
