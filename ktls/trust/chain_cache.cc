#include "ktls/trust/chain_cache.h"

#include <openssl/x509.h>

#include <utility>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/verify_settings.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

// Appends the DER of `certificate`, whose bytes are those that were decoded.
bool append_der(const X509* certificate, std::vector<std::byte>& out) {
  const int size = i2d_X509(certificate, nullptr);
  if (size < 0) return false;
  const std::size_t start = out.size();
  out.resize(start + static_cast<std::size_t>(size));
  unsigned char* at = raw(out.data() + start);
  return i2d_X509(certificate, &at) == size;
}

}  // namespace

std::optional<ChainName> chain_name(const X509* leaf, const STACK_OF(X509) * others) {
  constexpr int kMost = kMaxIntermediates + 2;
  const int count = others != nullptr ? sk_X509_num(others) : 0;
  if (count >= kMost) return std::nullopt;
  // DER tells its own length, so that two different chains have different bytes.
  std::vector<std::byte> chain;
  if (!append_der(leaf, chain)) return std::nullopt;
  const bool has_leaf = count > 0 && sk_X509_value(others, 0) == leaf;
  for (int i = has_leaf ? 1 : 0; i < count; ++i) {
    if (!append_der(sk_X509_value(others, i), chain)) return std::nullopt;
  }
  return sha256(chain);
}

std::shared_ptr<const PeerTrust> ChainCache::find(const ChainName& name) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return nullptr;
  const auto* const found = known_.find(name);
  return found == nullptr ? nullptr : *found;
}

void ChainCache::remember(const ChainName& name, std::shared_ptr<const PeerTrust> trust) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock) known_.remember(name, std::move(trust));
}

std::size_t ChainCache::size() const {
  const std::lock_guard lock(mutex_);
  return known_.size();
}

}  // namespace sallyport::ktls
