#include "ktls/keys/traffic_secret.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "iouring/invariant.h"
#include "ktls/keys/key_schedule.h"

namespace sallyport::ktls {

TrafficSecret::TrafficSecret(std::span<const std::byte> bytes) noexcept
    : size_(static_cast<std::uint8_t>(bytes.size())) {
  iouring::invariant(bytes.size() <= kMaxHashSize, "a traffic secret is at most one hash",
                     static_cast<long long>(bytes.size()), kMaxHashSize);
  std::ranges::copy(bytes, bytes_.begin());
}

TrafficSecret::TrafficSecret(TrafficSecret&& other) noexcept
    : bytes_(other.bytes_), size_(other.size_) {
  OPENSSL_cleanse(other.bytes_.data(), other.bytes_.size());
  other.size_ = 0;
}

TrafficSecret& TrafficSecret::operator=(TrafficSecret&& other) noexcept {
  if (this != &other) {
    bytes_ = other.bytes_;
    size_ = other.size_;
    OPENSSL_cleanse(other.bytes_.data(), other.bytes_.size());
    other.size_ = 0;
  }
  return *this;
}

TrafficSecret::~TrafficSecret() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

RecordKey::~RecordKey() {
  OPENSSL_cleanse(key.data(), key.size());
  OPENSSL_cleanse(iv.data(), iv.size());
}

RecordKey derive_key(CipherSuite suite, const TrafficSecret& secret,
                     RecordVersion version) noexcept {
  RecordKey result;
  if (version == RecordVersion::kTls12) {
    const std::span<const std::byte> bytes = secret.bytes();
    const std::size_t size = key_size(suite) + fixed_iv_size(suite);
    iouring::invariant(bytes.size() == size, "a secret of TLS 1.2 is a part of the key block",
                       static_cast<long long>(bytes.size()), static_cast<long long>(size));
    std::ranges::copy(bytes.first(key_size(suite)), result.key.begin());
    std::ranges::copy(bytes.subspan(key_size(suite)), result.iv.begin());
    return result;
  }
  expand_label(suite, secret.bytes(), "key", {}, std::span(result.key).first(key_size(suite)));
  expand_label(suite, secret.bytes(), "iv", {}, result.iv);
  return result;
}

DirectionState& DirectionState::operator=(DirectionState&& other) noexcept {
  if (this == &other) return *this;
  rec_seq = other.rec_seq;
  secret_ = std::move(other.secret_);
  key_ = std::exchange(other.key_, std::nullopt);
  return *this;
}

RecordKey DirectionState::key(CipherSuite suite, RecordVersion version) const noexcept {
  return key_ ? *key_ : derive_key(suite, secret_, version);
}

TrafficSecret next_secret(CipherSuite suite, const TrafficSecret& secret) noexcept {
  std::array<std::byte, kMaxHashSize> bytes;
  const auto next = std::span(bytes).first(hash_size(suite));
  expand_label(suite, secret.bytes(), "traffic upd", {}, next);
  TrafficSecret result{next};
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return result;
}

}  // namespace sallyport::ktls
