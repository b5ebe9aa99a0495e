#include "ktls/trust/issuer_keys.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

namespace sallyport::ktls {

void IssuerKeys::remember(const Sha256& hash, const X509* certificate) {
  const std::lock_guard lock(mutex_);
  if (keys_.size() >= kMost || keys_.contains(hash)) return;
  if (EvpPkeyPtr key{X509_get_pubkey(const_cast<X509*>(certificate))})
    keys_.emplace(hash, std::move(key));
}

EvpPkeyPtr IssuerKeys::find(const Sha256& hash) const {
  const std::lock_guard lock(mutex_);
  const auto known = keys_.find(hash);
  if (known == keys_.end() || EVP_PKEY_up_ref(known->second.get()) != 1) return nullptr;
  return EvpPkeyPtr(known->second.get());
}

}  // namespace sallyport::ktls
