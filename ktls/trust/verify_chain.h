#pragma once

#include <openssl/types.h>

#include <chrono>
#include <expected>
#include <memory>

#include "ktls/records/record.h"
#include "ktls/trust/chain_cache.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// Verifies the chain that `peer` sent: path and signatures, validity at `now`, CRLs, usage,
/// identity, and what its anchor vouches for. A client's usage goes by the settings of
/// `credentials`; a server's extended key usage, where it has one, must have serverAuth. One path
/// that passes all of it is enough, see search_paths(). For a certificate verification callback
/// (SSL_CTX_set_cert_verify_callback(3)), which calls it with its `store`.
///
/// A chain that is in `cache`, which has those of one role, is not verified again, but judged again
/// (Credentials::judge()). If that fails it is verified in full, which gives the failure its text
/// and its alert.
///
/// Afterwards `store` has X509_V_OK, or an error for which OpenSSL sends the alert of the failure.
/// Throws std::bad_alloc. Any thread, as far as `cache` and `credentials` allow.
std::expected<std::shared_ptr<const PeerTrust>, HandshakeFailure> verify_chain(
    X509_STORE_CTX* store, const Credentials& credentials, ChainCache& cache,
    std::chrono::sys_seconds now, Role peer);

}  // namespace sallyport::ktls
