#include "ktls/keys/key_schedule.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "ktls/keys/hmac.h"

namespace sallyport::ktls {
namespace {

[[noreturn]] void die(const char* what, std::size_t value) {
  std::fprintf(stderr, "sallyport: key schedule: %s (%zu)\n", what, value);
  std::abort();
}

}  // namespace

void expand_label(CipherSuite suite, std::span<const std::byte> secret, std::string_view label,
                  std::span<const std::byte> context, std::span<std::byte> out) noexcept {
  if (out.size() > hash_size(suite)) die("more than one hash asked for", out.size());
  if (label.size() > kMaxLabel) die("label too long", label.size());
  if (context.size() > kMaxHashSize) die("context too long", context.size());

  // struct HkdfLabel, and behind it the block counter of HKDF-Expand: with at most one hash of
  // output HKDF-Expand is a single HMAC (RFC 5869 2.3).
  std::array<std::byte, 2 + 1 + kLabelPrefix.size() + kMaxLabel + 1 + kMaxHashSize + 1> info;
  std::size_t size = 0;
  const auto put = [&](std::size_t value) { info[size++] = static_cast<std::byte>(value); };
  const auto copy = [&](const void* from, std::size_t count) {
    if (count != 0) std::memcpy(info.data() + size, from, count);
    size += count;
  };
  put(out.size() >> 8);
  put(out.size() & 0xff);
  put(kLabelPrefix.size() + label.size());
  copy(kLabelPrefix.data(), kLabelPrefix.size());
  copy(label.data(), label.size());
  put(context.size());
  copy(context.data(), context.size());
  put(1);

  std::array<std::byte, kMaxHashSize> block;
  hmac(suite, secret, std::span(info).first(size), block.data());
  std::copy_n(block.begin(), out.size(), out.begin());
  OPENSSL_cleanse(block.data(), block.size());
}

void extract(CipherSuite suite, std::span<const std::byte> salt, std::span<const std::byte> input,
             std::span<std::byte> out) noexcept {
  if (out.size() != hash_size(suite)) die("an extracted secret is one hash", out.size());
  hmac(suite, salt, input, out.data());
}

void next_stage(CipherSuite suite, std::span<const std::byte> secret,
                std::span<const std::byte> input, std::span<std::byte> out) noexcept {
  std::array<std::byte, kMaxHashSize> of_nothing;
  hash_of_nothing(suite, of_nothing.data());
  std::array<std::byte, kMaxHashSize> room;
  const auto derived = std::span(room).first(hash_size(suite));
  expand_label(suite, secret, "derived", std::span(of_nothing).first(hash_size(suite)), derived);
  extract(suite, derived, input, out);
  OPENSSL_cleanse(room.data(), room.size());
}

}  // namespace sallyport::ktls
