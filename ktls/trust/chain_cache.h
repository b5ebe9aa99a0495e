#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>

#include "ktls/base/recent_map.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// The name of a chain as the peer sent it: SHA-256 over the DER of every certificate, in order.
/// Chains with the same name have the same bytes.
using ChainName = Sha256;

/// The name of the chain of `leaf` and of what came with it (`others` may begin with the leaf
/// again, as OpenSSL's list does). Nothing if libcrypto fails, or if there are more certificates
/// than a chain may have.
std::optional<ChainName> chain_name(const X509* leaf, const STACK_OF(X509) * others);

/// Chains that were verified before, so that a peer that comes back costs no second search for a
/// path and no second check of its signatures. Only successes. The caller of find() judges validity
/// and revocation again (Credentials::judge()); the proof of possession is never skipped.
///
/// Belongs to a context, and so to one shard, one generation of trust and one role of the peers: it
/// holds nothing that was verified under other anchors or for another purpose. When it is full the
/// chain used longest ago is dropped. Any thread. No call waits for another: while one thread uses
/// the cache, find() of another returns null and its remember() does nothing.
class ChainCache {
 public:
  explicit ChainCache(std::size_t capacity = 1024) : known_(capacity) {}

  /// Null if there is none of this name.
  std::shared_ptr<const PeerTrust> find(const ChainName& name);
  void remember(const ChainName& name, std::shared_ptr<const PeerTrust> trust);

  std::size_t size() const;

 private:
  mutable std::mutex mutex_;
  RecentMap<ChainName, std::shared_ptr<const PeerTrust>, Sha256Hash> known_;
};

}  // namespace sallyport::ktls
