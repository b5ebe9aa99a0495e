#pragma once

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

namespace sallyport::ktls {

/// A secret of at most `Capacity` bytes, held in place and cleansed when it dies or is moved from.
template <std::size_t Capacity>
class SecretBytes {
 public:
  SecretBytes() noexcept = default;
  /// `bytes` is copied; more than Capacity is a broken invariant and aborts.
  explicit SecretBytes(std::span<const std::byte> bytes) noexcept { assign(bytes); }
  SecretBytes(SecretBytes&& other) noexcept {
    assign(other.bytes());
    other.clear();
  }
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      assign(other.bytes());
      other.clear();
    }
    return *this;
  }
  ~SecretBytes() { clear(); }

  void assign(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() > Capacity) std::abort();
    clear();
    std::ranges::copy(bytes, bytes_.begin());
    size_ = bytes.size();
  }
  void clear() noexcept {
    OPENSSL_cleanse(bytes_.data(), bytes_.size());
    size_ = 0;
  }

  /// For filling in place: the secret becomes `size` bytes of unspecified content.
  std::span<std::byte> resize(std::size_t size) noexcept {
    if (size > Capacity) std::abort();
    size_ = size;
    return {bytes_.data(), size_};
  }

  std::span<const std::byte> bytes() const noexcept { return {bytes_.data(), size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  std::array<std::byte, Capacity> bytes_{};
  std::size_t size_ = 0;
};

/// Text that may hold a secret (a key file): cleansed when it dies. It never grows, because growing
/// would leave copies behind in the heap.
class SecretText {
 public:
  explicit SecretText(std::size_t size) : text_(size, '\0') {}
  SecretText(SecretText&& other) noexcept = delete;
  SecretText& operator=(SecretText&&) = delete;
  ~SecretText() { OPENSSL_cleanse(text_.data(), text_.size()); }

  char* data() noexcept { return text_.data(); }
  std::size_t size() const noexcept { return text_.size(); }
  std::string_view view() const noexcept { return text_; }
  /// To its first `size` bytes.
  void shrink(std::size_t size) noexcept {
    if (size > text_.size()) std::abort();
    OPENSSL_cleanse(text_.data() + size, text_.size() - size);
    text_.resize(size);  // never reallocates: it becomes shorter
  }

 private:
  std::string text_;
};

}  // namespace sallyport::ktls
