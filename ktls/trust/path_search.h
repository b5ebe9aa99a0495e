#pragma once

#include <openssl/types.h>

#include <functional>
#include <span>

namespace sallyport::ktls {

/// A path from a leaf to an anchor, both included; of one certificate if the leaf is an anchor.
using CertificatePath = std::span<X509* const>;

/// Finds the paths of a chain that X509_verify_cert(3) has refused. For each certificate OpenSSL
/// takes one issuer, by name, key identifier and dates, and never goes back: where a root is being
/// exchanged that may be a cross-signed copy whose issuer is not there, or a twin of the same name
/// with another key, and which one it is depends on the order in the file.
///
/// Calls `take` with each path whose signatures are good, until it returns true; everything else is
/// left to `take`, dates included. Intermediates are those of the store of `context` and of its
/// untrusted certificates, anchors the self-signed ones of the store, or all of them under
/// X509_V_FLAG_PARTIAL_CHAIN, which may be the leaf itself. The number of signatures is bounded;
/// none is verified unless names lead to an anchor, and none with a key that is not proven from
/// there: a stranger's chain costs as many verifications with keys of anchors. The certificates of
/// a path live until `take` returns.
void search_paths(X509_STORE_CTX* context, const std::function<bool(CertificatePath)>& take);

}  // namespace sallyport::ktls
