#define OPENSSL_SUPPRESS_DEPRECATED  // SHA384_*: no fetch, no allocation
#include "bench/load/lean_schedule.h"

#include <algorithm>

namespace sallyport::bench::lean {
namespace {

constexpr size_t kBlockSize = SHA512_CBLOCK;

unsigned char* octets(Hash& hash) {
  return reinterpret_cast<unsigned char*>(hash.data());
}

}  // namespace

Hash sha384(Bytes data) {
  Transcript transcript;
  transcript.add(data);
  return transcript.hash();
}

Transcript::Transcript() {
  SHA384_Init(&context_);
}

void Transcript::add(Bytes message) {
  SHA384_Update(&context_, message.data(), message.size());
}

Hash Transcript::hash() const {
  SHA512_CTX copy = context_;
  Hash hash;
  SHA384_Final(octets(hash), &copy);
  return hash;
}

// RFC 2104. Keys are never longer than a block here.
Hash hmac(Bytes key, Bytes data) {
  std::array<std::byte, kBlockSize> pad{};
  std::copy(key.begin(), key.end(), pad.begin());
  for (std::byte& b : pad) b ^= std::byte{0x36};
  SHA512_CTX context;
  Hash hash;
  SHA384_Init(&context);
  SHA384_Update(&context, pad.data(), pad.size());
  SHA384_Update(&context, data.data(), data.size());
  SHA384_Final(octets(hash), &context);
  for (std::byte& b : pad) b ^= std::byte{0x36 ^ 0x5c};
  SHA384_Init(&context);
  SHA384_Update(&context, pad.data(), pad.size());
  SHA384_Update(&context, hash.data(), hash.size());
  SHA384_Final(octets(hash), &context);
  return hash;
}

Hash expand_label(Bytes secret, std::string_view label, Bytes context, size_t length) {
  // struct HkdfLabel, and the counter of HKDF-Expand's first block behind it.
  constexpr std::string_view kPrefix = "tls13 ";
  std::array<std::byte, 2 + 1 + 6 + 32 + 1 + kHashSize + 1> info;
  auto out = info.begin();
  const auto put = [&out](size_t value) { *out++ = static_cast<std::byte>(value); };
  put(length >> 8);
  put(length);
  put(kPrefix.size() + label.size());
  for (const char c : kPrefix) put(static_cast<unsigned char>(c));
  for (const char c : label) put(static_cast<unsigned char>(c));
  put(context.size());
  out = std::copy(context.begin(), context.end(), out);
  put(1);
  return hmac(secret, Bytes(info.begin(), out));
}

Hash finished_mac(const Hash& base_key, const Hash& transcript) {
  return hmac(expand_label(base_key, "finished", {}), transcript);
}

}  // namespace sallyport::bench::lean
