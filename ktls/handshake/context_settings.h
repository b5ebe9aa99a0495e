#pragma once

#include <openssl/types.h>

#include <chrono>
#include <expected>
#include <memory>
#include <span>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/curve_certificates.h"
#include "ktls/records/record.h"
#include "ktls/trust/credentials.h"

// What the SSL_CTXs of both roles have in common. Errors name the option or file; a context that
// one came back for is of no use. Any thread.

namespace sallyport::ktls {

/// The clock by which certificates and tickets are validated; tests give their own.
using WallClock = std::chrono::sys_seconds (*)();
std::chrono::sys_seconds wall_clock_now();

/// The library context for handshakes under any of these credentials: that of tls_library(), if it
/// has every kind of key among them, else OpenSSL's default, null.
OSSL_LIB_CTX* library_for(std::span<const std::shared_ptr<const Credentials>> credentials);

/// A context of `role`, the side that is ours, in `library`: versions from `min_version` on,
/// suites, groups, limits, and the engine's callbacks. Neither sessions nor renegotiation nor
/// compression. Of `settings` it takes the suites and groups.
std::expected<SslCtxPtr, CredentialsError> make_context(OSSL_LIB_CTX* library, Role role,
                                                        const HandshakeSettings& settings,
                                                        RecordVersion min_version);

/// Gives `ctx` copies of the certificates and keys that `credentials` present, so that shards do
/// not contend for reference counts and locks. Those of EC are in `curves` as well.
std::expected<void, CredentialsError> set_certificates(SSL_CTX* ctx, const Credentials& credentials,
                                                       CurveCertificates& curves);

/// Gives `ctx` a store with copies of the bundles of `credentials`, or that of `of_same_trust`, a
/// context of the same shard whose credentials share this trust.
std::expected<void, CredentialsError> set_trust(SSL_CTX* ctx, const Credentials& credentials,
                                                const SSL_CTX* of_same_trust = nullptr);

}  // namespace sallyport::ktls
