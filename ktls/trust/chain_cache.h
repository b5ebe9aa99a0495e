#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>

#include "ktls/base/recent_map.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// Names a chain as the peer sent it: SHA-256 over the DER of every certificate, in order. Equal
/// names, equal bytes.
using ChainName = Sha256;

/// `leaf` and what came with it (`others` may begin with the leaf again, as OpenSSL's list does).
/// Nothing if libcrypto fails or there are more certificates than anyone verifies.
std::optional<ChainName> chain_name(const X509* leaf, const STACK_OF(X509) * others);

/// Chains that were verified before, so that a peer that comes back costs no second search for a
/// path and no second check of its signatures. Only successes; whoever looks one up judges validity
/// and revocation again (Credentials::judge()), and the proof of possession is never skipped.
///
/// Belongs to a ServerContext, and so to one shard and one generation of trust: what was believed
/// under other anchors is not here. The one used longest ago makes room. Any thread, and none ever
/// waits for another: whoever finds somebody else in it knows nothing and remembers nothing.
class ChainCache {
 public:
  explicit ChainCache(std::size_t capacity = 1024) : known_(capacity) {}

  /// Null: not known.
  std::shared_ptr<const PeerTrust> find(const ChainName& name);
  void remember(const ChainName& name, std::shared_ptr<const PeerTrust> trust);

  std::size_t size() const;

 private:
  struct Hash {
    std::size_t operator()(const ChainName& name) const noexcept;
  };

  mutable std::mutex mutex_;
  RecentMap<ChainName, std::shared_ptr<const PeerTrust>, Hash> known_;
};

}  // namespace sallyport::ktls
