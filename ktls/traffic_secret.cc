#include "ktls/traffic_secret.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace sallyport::ktls {
namespace {

[[noreturn]] void die(const char* what, std::size_t value) {
  std::fprintf(stderr, "sallyport: traffic secret: %s (%zu)\n", what, value);
  std::abort();
}

struct MacContextFree {
  void operator()(EVP_MAC_CTX* context) const noexcept { EVP_MAC_CTX_free(context); }
};
using MacContext = std::unique_ptr<EVP_MAC_CTX, MacContextFree>;

/// HMAC with its digest chosen, to be duplicated: a fetch or a parameter by name costs more than
/// the hashing. Holds no key, never changes, lives as long as the process.
const EVP_MAC_CTX* hmac_template(const char* digest) {
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr);
  EVP_MAC_CTX* context = mac != nullptr ? EVP_MAC_CTX_new(mac) : nullptr;
  EVP_MAC_free(mac);
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(digest), 0),
      OSSL_PARAM_construct_end()};
  if (context == nullptr || EVP_MAC_CTX_set_params(context, parameters) != 1) {
    die("libcrypto has no HMAC", 0);
  }
  return context;
}

MacContext hmac_for(CipherSuite suite) {
  static const EVP_MAC_CTX* const sha256 = hmac_template("SHA256");
  static const EVP_MAC_CTX* const sha384 = hmac_template("SHA384");
  return MacContext(EVP_MAC_CTX_dup(suite == CipherSuite::kAes256GcmSha384 ? sha384 : sha256));
}

const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

}  // namespace

TrafficSecret::TrafficSecret(std::span<const std::byte> bytes) noexcept
    : size_(static_cast<std::uint8_t>(bytes.size())) {
  if (bytes.size() > kMaxHashSize) die("longer than any hash", bytes.size());
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

void expand_label(CipherSuite suite, std::span<const std::byte> secret, std::string_view label,
                  std::span<const std::byte> context, std::span<std::byte> out) noexcept {
  constexpr std::string_view kPrefix = "tls13 ";
  constexpr std::size_t kMaxLabel = 32;
  const std::size_t label_size = kPrefix.size() + label.size();
  if (out.size() > hash_size(suite)) die("more than one hash asked for", out.size());
  if (label_size > kMaxLabel) die("label too long", label.size());
  if (context.size() > kMaxHashSize) die("context too long", context.size());

  // struct HkdfLabel, and behind it the block counter of HKDF-Expand: with at most one hash of
  // output HKDF-Expand is a single HMAC (RFC 5869 2.3).
  std::array<std::byte, 2 + 1 + kMaxLabel + 1 + kMaxHashSize + 1> info{};
  std::size_t size = 0;
  const auto put = [&](std::size_t value) { info[size++] = static_cast<std::byte>(value); };
  const auto copy = [&](const void* from, std::size_t count) {
    if (count != 0) std::memcpy(info.data() + size, from, count);
    size += count;
  };
  put(out.size() >> 8);
  put(out.size() & 0xff);
  put(label_size);
  copy(kPrefix.data(), kPrefix.size());
  copy(label.data(), label.size());
  put(context.size());
  copy(context.data(), context.size());
  put(1);

  std::array<std::byte, EVP_MAX_MD_SIZE> block;
  std::size_t block_size = 0;
  const MacContext mac = hmac_for(suite);
  const bool done = mac &&
                    EVP_MAC_init(mac.get(), raw(secret.data()), secret.size(), nullptr) == 1 &&
                    EVP_MAC_update(mac.get(), raw(info.data()), size) == 1 &&
                    EVP_MAC_final(mac.get(), reinterpret_cast<unsigned char*>(block.data()),
                                  &block_size, block.size()) == 1;
  if (!done) die("HMAC failed", block_size);
  std::copy_n(block.begin(), out.size(), out.begin());
  OPENSSL_cleanse(block.data(), block.size());
}

RecordKey derive_key(CipherSuite suite, const TrafficSecret& secret,
                     RecordVersion version) noexcept {
  RecordKey result;
  if (version == RecordVersion::kTls12) {
    const std::span<const std::byte> bytes = secret.bytes();
    if (bytes.size() != key_size(suite) + fixed_iv_size(suite)) {
      die("no part of a key block", bytes.size());
    }
    std::ranges::copy(bytes.first(key_size(suite)), result.key.begin());
    std::ranges::copy(bytes.subspan(key_size(suite)), result.iv.begin());
    return result;
  }
  expand_label(suite, secret.bytes(), "key", {}, std::span(result.key).first(key_size(suite)));
  expand_label(suite, secret.bytes(), "iv", {}, result.iv);
  return result;
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
