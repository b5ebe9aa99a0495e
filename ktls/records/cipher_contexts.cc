#include "ktls/records/cipher_contexts.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {
namespace {

constexpr std::uint32_t kNone = UINT32_MAX;

const EVP_CIPHER* fetch(const char* name) {
  const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  if (cipher == nullptr) {
    std::fprintf(stderr, "sallyport: libcrypto has no %s\n", name);
    std::abort();
  }
  return cipher;
}

/// Fetched when first used and kept for the life of the process: a fetch by name costs 0.3 µs each
/// time. A provider may lack a suite (FIPS has no ChaCha20-Poly1305), which is then not negotiated.
const EVP_CIPHER* cipher_of(CipherSuite suite) {
  switch (suite) {
    case CipherSuite::kAes128GcmSha256: {
      static const EVP_CIPHER* const aes128 = fetch("AES-128-GCM");
      return aes128;
    }
    case CipherSuite::kAes256GcmSha384: {
      static const EVP_CIPHER* const aes256 = fetch("AES-256-GCM");
      return aes256;
    }
    case CipherSuite::kChaCha20Poly1305Sha256: {
      static const EVP_CIPHER* const chacha = fetch("ChaCha20-Poly1305");
      return chacha;
    }
  }
  std::abort();
}

}  // namespace

/// Slots form a doubly linked list by index, the most recently used first.
struct CipherContexts::Slot {
  EvpCipherCtxPtr context;
  std::uint64_t stamp = 0;  ///< of the claim that holds it; 0 = free, and no key inside
  std::uint32_t newer = kNone;
  std::uint32_t older = kNone;
  CipherSuite suite{};  ///< the one whose cipher the context has; none at first
};

CipherContexts::CipherContexts(std::size_t capacity)
    : capacity_(std::max<std::size_t>(1, capacity)), newest_(kNone), oldest_(kNone) {
  slots_.reserve(capacity_);
}

CipherContexts::~CipherContexts() = default;

std::size_t CipherContexts::live_contexts() const noexcept {
  return slots_.size();
}

void CipherContexts::unlink(std::uint32_t index) noexcept {
  Slot& slot = slots_[index];
  (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
  (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
}

void CipherContexts::link_newest(std::uint32_t index) noexcept {
  Slot& slot = slots_[index];
  slot.newer = kNone;
  slot.older = newest_;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = index;
  newest_ = index;
}

void CipherContexts::link_oldest(std::uint32_t index) noexcept {
  Slot& slot = slots_[index];
  slot.newer = oldest_;
  slot.older = kNone;
  (oldest_ == kNone ? newest_ : slots_[oldest_].older) = index;
  oldest_ = index;
}

/// The slot to key next, unlinked. Free ones are at the old end, where release() puts them.
std::uint32_t CipherContexts::take_oldest() noexcept {
  const bool have_free = oldest_ != kNone && slots_[oldest_].stamp == 0;
  if (!have_free && slots_.size() < capacity_) {
    slots_.push_back(Slot{});
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }
  const std::uint32_t index = oldest_;
  unlink(index);
  return index;
}

EVP_CIPHER_CTX* CipherContexts::start(Claim& claim, CipherSuite suite, Direction direction,
                                      const RecordKey& key,
                                      std::span<const std::byte, kIvSize> nonce) noexcept {
  const int encrypt = direction == Direction::kSeal ? 1 : 0;
  if (claim.stamp != 0 && slots_[claim.slot].stamp == claim.stamp) {
    if (newest_ != claim.slot) {
      unlink(claim.slot);
      link_newest(claim.slot);
    }
    EVP_CIPHER_CTX* const context = slots_[claim.slot].context.get();
    const int set =
        EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, raw(nonce.data()), encrypt);
    return set == 1 ? context : nullptr;
  }

  const std::uint32_t index = take_oldest();
  link_newest(index);
  Slot& slot = slots_[index];
  slot.stamp = 0;
  const bool fresh = !slot.context;
  if (fresh) slot.context.reset(EVP_CIPHER_CTX_new());
  EVP_CIPHER_CTX* const context = slot.context.get();
  if (context == nullptr) return nullptr;
  // Naming the cipher again would rebuild the context; only another suite needs that.
  const bool same_cipher = !fresh && slot.suite == suite;
  if (!fresh && !same_cipher) EVP_CIPHER_CTX_reset(context);
  if (EVP_CipherInit_ex(context, same_cipher ? nullptr : cipher_of(suite), nullptr,
                        raw(key.key.data()), raw(nonce.data()), encrypt) != 1) {
    slot.context.reset();
    return nullptr;
  }
  ++keyings_;
  slot.suite = suite;
  slot.stamp = next_stamp_++;
  claim = {.stamp = slot.stamp, .slot = index};
  return context;
}

void CipherContexts::release(Claim& claim) noexcept {
  const Claim held = std::exchange(claim, {});
  if (held.stamp == 0 || slots_[held.slot].stamp != held.stamp) return;
  Slot& slot = slots_[held.slot];
  slot.stamp = 0;
  slot.suite = CipherSuite{};
  EVP_CIPHER_CTX_reset(slot.context.get());  // frees and cleanses the key schedule
  unlink(held.slot);
  link_oldest(held.slot);
}

}  // namespace sallyport::ktls
