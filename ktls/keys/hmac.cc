#include "ktls/keys/hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "iouring/invariant.h"
#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {
namespace {

constexpr std::size_t kMaxBlock = 128;  // SHA-384; of SHA-256 64 (FIPS 180-4)

/// One hash state, reused: EVP_MD_CTX_new and the initialisation with a digest cost more than
/// hashing a block, and count references in a cache line that all threads share.
class Hash {
 public:
  explicit Hash(const char* digest) : context_(EVP_MD_CTX_new()) {
    EVP_MD* fetched = EVP_MD_fetch(nullptr, digest, nullptr);
    iouring::invariant(context_ && EVP_DigestInit_ex2(context_.get(), fetched, nullptr) == 1,
                       "libcrypto has the hash");
    block_ = static_cast<std::size_t>(EVP_MD_get_block_size(fetched));
    size_ = static_cast<std::size_t>(EVP_MD_get_size(fetched));
    EVP_MD_free(fetched);
    finish(of_nothing_.data());
  }

  std::size_t block_size() const noexcept { return block_; }
  std::size_t size() const noexcept { return size_; }
  std::span<const std::byte> of_nothing() const noexcept {
    return std::span(of_nothing_).first(size_);
  }

  void add(std::span<const std::byte> bytes) noexcept {
    must(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
  }
  /// Writes size() bytes to `out` and starts over.
  void finish(std::byte* out) noexcept {
    must(EVP_DigestFinal_ex(context_.get(), raw(out), nullptr));
    restart();
  }
  /// Overwrites what the last message left in the state, chaining value and block.
  void cleanse() noexcept {
    constexpr std::array<std::byte, kMaxBlock> kZeros{};
    add(std::span(kZeros).first(block_ - 1));
    restart();
  }

 private:
  static void must(int done) noexcept { iouring::invariant(done == 1, "libcrypto can hash"); }
  void restart() noexcept { must(EVP_DigestInit_ex2(context_.get(), nullptr, nullptr)); }

  EvpMdCtxPtr context_;
  std::size_t block_ = 0;
  std::size_t size_ = 0;
  std::array<std::byte, kMaxHashSize> of_nothing_{};
};

Hash& hash_of(CipherSuite suite) {
  if (suite == CipherSuite::kAes256GcmSha384) {
    thread_local Hash sha384("SHA384");
    return sha384;
  }
  thread_local Hash sha256("SHA256");
  return sha256;
}

}  // namespace

void hmac(CipherSuite suite, std::span<const std::byte> key, std::span<const std::byte> message,
          std::byte* out) noexcept {
  Hash& hash = hash_of(suite);
  constexpr std::byte kInner{0x36};
  constexpr std::byte kOuter{0x5c};
  iouring::invariant(key.size() <= hash.block_size(), "an HMAC key is at most one block long",
                     static_cast<long long>(key.size()), static_cast<long long>(hash.block_size()));
  std::array<std::byte, kMaxBlock> room{};
  const auto pad = std::span(room).first(hash.block_size());
  std::ranges::copy(key, pad.begin());
  for (std::byte& each : pad) each ^= kInner;
  hash.add(pad);
  hash.add(message);
  hash.finish(out);
  for (std::byte& each : pad) each ^= kInner ^ kOuter;
  hash.add(pad);
  hash.add({out, hash.size()});
  hash.finish(out);
  hash.cleanse();
  OPENSSL_cleanse(room.data(), room.size());
}

void hash_of_nothing(CipherSuite suite, std::byte* out) noexcept {
  std::ranges::copy(hash_of(suite).of_nothing(), out);
}

}  // namespace sallyport::ktls
