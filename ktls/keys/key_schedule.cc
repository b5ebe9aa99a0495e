#include "ktls/keys/key_schedule.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "iouring/invariant.h"
#include "ktls/keys/hmac.h"

namespace sallyport::ktls {
namespace {

void at_most(std::size_t size, std::size_t limit, const char* rule) noexcept {
  iouring::invariant(size <= limit, rule, static_cast<long long>(size),
                     static_cast<long long>(limit));
}

}  // namespace

void expand_label(CipherSuite suite, std::span<const std::byte> secret, std::string_view label,
                  std::span<const std::byte> context, std::span<std::byte> out) noexcept {
  at_most(out.size(), hash_size(suite), "HKDF-Expand-Label gives at most one hash");
  at_most(label.size(), kMaxLabel, "a label of the key schedule is short");
  at_most(context.size(), kMaxHashSize, "a context of the key schedule is at most one hash");

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
  iouring::invariant(out.size() == hash_size(suite), "an extracted secret is one hash",
                     static_cast<long long>(out.size()), static_cast<long long>(hash_size(suite)));
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
