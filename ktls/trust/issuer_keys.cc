#include "ktls/trust/issuer_keys.h"

#include <openssl/x509.h>

#include <utility>

namespace sallyport::ktls {

void IssuerKeys::remember(const Issuer& issuer, const X509* certificate) {
  const std::lock_guard lock(mutex_);
  if (takes(issuer.key))
    keys_.emplace(issuer.key, Key{.der = public_key_der(certificate), .name = issuer.name});
}

void IssuerKeys::remember(const Issuer& issuer, std::vector<std::byte> public_key) {
  const std::lock_guard lock(mutex_);
  if (takes(issuer.key))
    keys_.emplace(issuer.key, Key{.der = std::move(public_key), .name = issuer.name});
}

bool IssuerKeys::takes(const Sha256& hash) const {
  return keys_.size() < kMost && !keys_.contains(hash);
}

EvpPkeyPtr IssuerKeys::find(const Sha256& hash) const {
  const auto der = public_key(hash);
  return der ? decode_public_key(*der) : nullptr;
}

std::optional<std::vector<std::byte>> IssuerKeys::public_key(const Sha256& hash) const {
  const std::lock_guard lock(mutex_);
  const auto found = keys_.find(hash);
  if (found == keys_.end()) return std::nullopt;
  return found->second.der;
}

std::vector<IssuerKeys::Issuer> IssuerKeys::known() const {
  const std::lock_guard lock(mutex_);
  std::vector<Issuer> issuers;
  issuers.reserve(keys_.size());
  for (const auto& [hash, key] : keys_) issuers.push_back({.name = key.name, .key = hash});
  return issuers;
}

}  // namespace sallyport::ktls
