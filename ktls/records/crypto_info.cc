#include "ktls/records/crypto_info.h"

#include <openssl/crypto.h>
#include <sys/socket.h>

#include <cstring>

#include "ktls/base/big_endian.h"
#include "ktls/records/kernel_tls_options.h"

namespace sallyport::ktls {
namespace {

using Sequence = unsigned char[8];

void store(std::uint64_t value, Sequence& out) noexcept {
  const auto bytes = big_endian(value);
  std::memcpy(out, bytes.data(), sizeof out);
}

std::uint64_t load(const Sequence& in) noexcept {
  return from_big_endian(std::as_bytes(std::span(in)));
}

template <class Gcm>
void fill_gcm(Gcm& out, RecordVersion version, const RecordKey& key,
              std::uint64_t rec_seq) noexcept {
  static_assert(sizeof out.salt + sizeof out.iv == kIvSize);
  std::memcpy(out.key, key.key.data(), sizeof out.key);
  std::memcpy(out.salt, key.iv.data(), sizeof out.salt);
  if (version == RecordVersion::kTls13) {
    std::memcpy(out.iv, key.iv.data() + sizeof out.salt, sizeof out.iv);
  } else {
    store(rec_seq, out.iv);
  }
  store(rec_seq, out.rec_seq);
}

}  // namespace

CryptoInfo::CryptoInfo(RecordVersion version, CipherSuite suite, const RecordKey& key,
                       std::uint64_t rec_seq) noexcept
    : suite_(suite) {
  switch (suite) {
    case CipherSuite::kAes128GcmSha256:
      fill_gcm(value_.aes_128_gcm, version, key, rec_seq);
      value_.any.cipher_type = TLS_CIPHER_AES_GCM_128;
      break;
    case CipherSuite::kAes256GcmSha384:
      fill_gcm(value_.aes_256_gcm, version, key, rec_seq);
      value_.any.cipher_type = TLS_CIPHER_AES_GCM_256;
      break;
    case CipherSuite::kChaCha20Poly1305Sha256: {
      auto& out = value_.chacha20_poly1305;
      static_assert(sizeof out.iv == kIvSize);
      std::memcpy(out.key, key.key.data(), sizeof out.key);
      std::memcpy(out.iv, key.iv.data(), sizeof out.iv);
      store(rec_seq, out.rec_seq);
      value_.any.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
      break;
    }
  }
  value_.any.version = version == RecordVersion::kTls13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
}

CryptoInfo::~CryptoInfo() {
  OPENSSL_cleanse(&value_, sizeof value_);
}

std::size_t CryptoInfo::size_of(CipherSuite suite) noexcept {
  switch (suite) {
    case CipherSuite::kAes128GcmSha256:
      return sizeof(tls12_crypto_info_aes_gcm_128);
    case CipherSuite::kAes256GcmSha384:
      return sizeof(tls12_crypto_info_aes_gcm_256);
    case CipherSuite::kChaCha20Poly1305Sha256:
      return sizeof(tls12_crypto_info_chacha20_poly1305);
  }
  return 0;
}

std::span<const std::byte> CryptoInfo::bytes() const noexcept {
  return std::as_bytes(std::span(&value_, 1)).first(size_of(suite_));
}

std::optional<std::uint64_t> CryptoInfo::next_record(int descriptor, int direction,
                                                     CipherSuite suite) noexcept {
  Value value{};
  socklen_t size = static_cast<socklen_t>(size_of(suite));
  if (::getsockopt(descriptor, SOL_TLS, direction, &value, &size) != 0) return std::nullopt;
  std::uint64_t next = 0;
  switch (suite) {
    case CipherSuite::kAes128GcmSha256:
      next = load(value.aes_128_gcm.rec_seq);
      break;
    case CipherSuite::kAes256GcmSha384:
      next = load(value.aes_256_gcm.rec_seq);
      break;
    case CipherSuite::kChaCha20Poly1305Sha256:
      next = load(value.chacha20_poly1305.rec_seq);
      break;
  }
  OPENSSL_cleanse(&value, sizeof value);
  return next;
}

}  // namespace sallyport::ktls
