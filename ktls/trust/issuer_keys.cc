#include "ktls/trust/issuer_keys.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <utility>

namespace sallyport::ktls {

void IssuerKeys::remember(const Issuer& issuer, const X509* certificate) {
  const std::lock_guard lock(mutex_);
  if (keys_.size() >= kMost || keys_.contains(issuer.key)) return;
  if (EvpPkeyPtr key{X509_get_pubkey(const_cast<X509*>(certificate))})
    keys_.emplace(issuer.key, Key{.key = std::move(key), .name = issuer.name});
}

EvpPkeyPtr IssuerKeys::find(const Sha256& hash) const {
  const std::lock_guard lock(mutex_);
  const auto found = keys_.find(hash);
  if (found == keys_.end() || EVP_PKEY_up_ref(found->second.key.get()) != 1) return nullptr;
  return EvpPkeyPtr(found->second.key.get());
}

std::vector<IssuerKeys::Issuer> IssuerKeys::known() const {
  const std::lock_guard lock(mutex_);
  std::vector<Issuer> issuers;
  issuers.reserve(keys_.size());
  for (const auto& [hash, key] : keys_) issuers.push_back({.name = key.name, .key = hash});
  return issuers;
}

}  // namespace sallyport::ktls
