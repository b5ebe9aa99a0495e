#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// Keys of the issuers that verified chains have shown: of issuers that are in no bundle, so that
/// their CRLs can be verified later, when no chain is at hand. Any thread.
class IssuerKeys {
 public:
  /// All have issued by an anchor's leave, so clients cannot make them up; a mesh has a few, one
  /// for each of its clusters. More are not remembered.
  static constexpr std::size_t kMost = 1024;

  /// An issuer as certificates name it, and public_key_hash() of its key.
  struct Issuer {
    NameHash name{};
    Sha256 key{};
  };

  /// `certificate` is the issuer's.
  void remember(const Issuer& issuer, const X509* certificate);
  /// `public_key` is public_key_der() of such a certificate, as another process remembers it.
  void remember(const Issuer& issuer, std::vector<std::byte> public_key);
  /// Null: not known. Decodes it, some 10 µs.
  [[nodiscard]] EvpPkeyPtr find(const Sha256& hash) const;
  /// For remember(); nothing: not known.
  [[nodiscard]] std::optional<std::vector<std::byte>> public_key(const Sha256& hash) const;
  /// Those that are known; a key that has several names, by the one that was seen first.
  [[nodiscard]] std::vector<Issuer> known() const;

 private:
  struct Key {
    std::vector<std::byte> der;
    NameHash name{};
  };
  [[nodiscard]] bool takes(const Sha256& hash) const;

  mutable std::mutex mutex_;
  std::map<Sha256, Key> keys_;
};

}  // namespace sallyport::ktls
