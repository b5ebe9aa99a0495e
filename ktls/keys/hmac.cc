#include "ktls/keys/hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {
namespace {

constexpr std::size_t kMaxBlock = 128;  // SHA-384; of SHA-256 64 (FIPS 180-4)

[[noreturn]] void die(const char* what, std::size_t value) {
  std::fprintf(stderr, "sallyport: hmac: %s (%zu)\n", what, value);
  std::abort();
}

/// One hash, used again and again: EVP_MD_CTX_new and the initialisation with a digest cost more
/// than hashing a block, and count references in a line of memory that all threads share.
class Hash {
 public:
  explicit Hash(const char* digest) : context_(EVP_MD_CTX_new()) {
    EVP_MD* fetched = EVP_MD_fetch(nullptr, digest, nullptr);
    if (!context_ || EVP_DigestInit_ex2(context_.get(), fetched, nullptr) != 1)
      die("libcrypto has no such hash", 0);
    block_ = static_cast<std::size_t>(EVP_MD_get_block_size(fetched));
    size_ = static_cast<std::size_t>(EVP_MD_get_size(fetched));
    EVP_MD_free(fetched);
  }

  std::size_t block_size() const noexcept { return block_; }
  std::size_t size() const noexcept { return size_; }

  void add(std::span<const std::byte> bytes) noexcept {
    if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) die("hashing failed", 0);
  }
  /// size() bytes at `out`; then it is as new.
  void finish(std::byte* out) noexcept {
    if (EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(out), nullptr) != 1)
      die("hashing failed", 0);
    restart();
  }
  /// Overwrites what the last message left in the state: chaining value and block.
  void forget() noexcept {
    constexpr std::array<std::byte, kMaxBlock> kZeros{};
    add(std::span(kZeros).first(block_ - 1));
    restart();
  }

 private:
  void restart() noexcept {
    if (EVP_DigestInit_ex2(context_.get(), nullptr, nullptr) != 1) die("hashing failed", 0);
  }

  EvpMdCtxPtr context_;
  std::size_t block_ = 0;
  std::size_t size_ = 0;
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
  if (key.size() > hash.block_size()) die("a key longer than a block", key.size());
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
  hash.forget();
  OPENSSL_cleanse(room.data(), room.size());
}

void hash_of_nothing(CipherSuite suite, std::byte* out) noexcept {
  hash_of(suite).finish(out);
}

}  // namespace sallyport::ktls
