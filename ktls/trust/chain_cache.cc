#include "ktls/trust/chain_cache.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "ktls/trust/verify_settings.h"

namespace sallyport::ktls {
namespace {

// Adds the digest of one certificate, which libcrypto computes from the bytes that it decoded. All
// digests have one length, so that two different chains have different sequences of digests.
bool add_digest(const X509* certificate, std::span<std::uint8_t, 32> out) {
  unsigned size = 0;
  return X509_digest(certificate, EVP_sha256(), out.data(), &size) == 1 && size == out.size();
}

}  // namespace

std::optional<ChainName> chain_name(const X509* leaf, const STACK_OF(X509) * others) {
  constexpr std::size_t kMost = kMaxIntermediates + 2;
  const int count = others != nullptr ? sk_X509_num(others) : 0;
  if (count > static_cast<int>(kMost) - 1) return std::nullopt;
  std::array<std::uint8_t, kMost * 32> digests;
  std::size_t used = 0;
  const auto add = [&](const X509* certificate) {
    const bool added = add_digest(certificate, std::span(digests).subspan(used).first<32>());
    used += 32;
    return added;
  };
  if (!add(leaf)) return std::nullopt;
  const bool has_leaf = count > 0 && sk_X509_value(others, 0) == leaf;
  for (int i = has_leaf ? 1 : 0; i < count; ++i) {
    if (!add(sk_X509_value(others, i))) return std::nullopt;
  }
  ChainName name{};
  unsigned size = 0;
  if (EVP_Digest(digests.data(), used, name.data(), &size, EVP_sha256(), nullptr) != 1) {
    return std::nullopt;
  }
  return name;
}

std::size_t ChainCache::Hash::operator()(const ChainName& name) const noexcept {
  std::size_t hash = 0;
  std::memcpy(&hash, name.data(), sizeof hash);
  return hash;
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
