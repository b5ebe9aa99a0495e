#include "bench/load/lean_record.h"

#include <algorithm>

#include "bench/load/fd.h"

namespace sallyport::bench::lean {
namespace {

const unsigned char* octets(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* octets(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

std::array<std::byte, 12> next_nonce(Direction& direction) {
  std::array<std::byte, 12> nonce = direction.iv;
  const uint64_t sequence = direction.sequence++;
  for (size_t i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<std::byte>(sequence >> (8 * i));
  return nonce;
}

}  // namespace

void Direction::use(const Hash& traffic_secret) {
  static uint64_t last_id = 0;
  secret = traffic_secret;
  const Hash key_bytes = expand_label(secret, "key", {}, key.size());
  const Hash iv_bytes = expand_label(secret, "iv", {}, iv.size());
  std::copy_n(key_bytes.begin(), key.size(), key.begin());
  std::copy_n(iv_bytes.begin(), iv.size(), iv.begin());
  sequence = 0;
  id = ++last_id;
}

void Direction::update() {
  use(expand_label(secret, "traffic upd", {}));
}

Records::Records() : sealing_(EVP_CIPHER_CTX_new()), opening_(EVP_CIPHER_CTX_new()) {
  EVP_EncryptInit_ex(sealing_.get(), EVP_aes_256_gcm(), nullptr, nullptr, nullptr);
  EVP_DecryptInit_ex(opening_.get(), EVP_aes_256_gcm(), nullptr, nullptr, nullptr);
}

void Records::seal(Direction& direction, ContentType type, Bytes fragment,
                   std::vector<std::byte>& to) {
  const size_t begin = to.size();
  const size_t length = fragment.size() + 1 + kTagSize;
  to.resize(begin + kHeaderSize + length);
  std::byte* const header = to.data() + begin;
  std::byte* const body = header + kHeaderSize;
  header[0] = std::byte{kApplication};
  header[1] = header[2] = std::byte{3};
  header[3] = static_cast<std::byte>(length >> 8);
  header[4] = static_cast<std::byte>(length);

  const bool new_key = std::exchange(sealing_id_, direction.id) != direction.id;
  const auto nonce = next_nonce(direction);
  const auto inner_type = static_cast<unsigned char>(type);
  EVP_CIPHER_CTX* const context = sealing_.get();
  int count = 0;
  int last = 0;
  const bool good = EVP_EncryptInit_ex(context, nullptr, nullptr,
                                       new_key ? octets(direction.key.data()) : nullptr,
                                       octets(nonce.data())) == 1 &&
                    EVP_EncryptUpdate(context, nullptr, &count, octets(header), kHeaderSize) == 1 &&
                    EVP_EncryptUpdate(context, octets(body), &count, octets(fragment.data()),
                                      static_cast<int>(fragment.size())) == 1 &&
                    EVP_EncryptUpdate(context, octets(body) + count, &last, &inner_type, 1) == 1 &&
                    EVP_EncryptFinal_ex(context, octets(body) + count + last, &last) == 1 &&
                    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize,
                                        body + fragment.size() + 1) == 1;
  if (!good) die("cannot seal a record");
}

Records::Opened Records::open(Direction& direction, Bytes record, std::byte* to) {
  constexpr Opened kBad{-1, 0};
  if (record.size() < kHeaderSize + 1 + kTagSize) return kBad;
  const Bytes body = record.subspan(kHeaderSize, record.size() - kHeaderSize - kTagSize);
  const Bytes tag = record.last(kTagSize);
  const bool new_key = std::exchange(opening_id_, direction.id) != direction.id;
  const auto nonce = next_nonce(direction);
  EVP_CIPHER_CTX* const context = opening_.get();
  int count = 0;
  const bool good =
      EVP_DecryptInit_ex(context, nullptr, nullptr,
                         new_key ? octets(direction.key.data()) : nullptr,
                         octets(nonce.data())) == 1 &&
      EVP_DecryptUpdate(context, nullptr, &count, octets(record.data()), kHeaderSize) == 1 &&
      EVP_DecryptUpdate(context, octets(to), &count, octets(body.data()),
                        static_cast<int>(body.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagSize,
                          const_cast<std::byte*>(tag.data())) == 1 &&
      EVP_DecryptFinal_ex(context, octets(to) + count, &count) == 1;
  if (!good) return kBad;
  auto size = static_cast<ptrdiff_t>(body.size());
  while (size > 0 && to[size - 1] == std::byte{0}) --size;  // padding, RFC 8446 5.4
  if (size == 0) return kBad;
  return {size - 1, static_cast<uint8_t>(to[size - 1])};
}

}  // namespace sallyport::bench::lean
