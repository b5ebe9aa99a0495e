// Our own TLS 1.3 client over libcrypto's primitives: a handshake costs it a fraction of what it
// costs OpenSSL's client, and bulk needs one system call for many records. So one core of load can
// saturate one core of server.
#pragma once

#include <memory>

#include "bench/load/options.h"
#include "bench/load/stream.h"

namespace sallyport::bench {

/// TLS_AES_256_GCM_SHA384, X25519, an ECDSA P-256 client key; resumption by psk_dhe_ke. The
/// server's Finished is checked, its certificate is not looked at. Dies when a file cannot be used,
/// or when the options ask for more.
std::unique_ptr<Client> lean_client(const Options& options);

}  // namespace sallyport::bench
