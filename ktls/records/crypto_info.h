#pragma once

#include <linux/tls.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ktls/keys/suite.h"
#include "ktls/keys/traffic_secret.h"

namespace sallyport::ktls {

/// The value of the options TLS_TX and TLS_RX (linux/tls.h): cipher, key and the sequence number of
/// the next record. Cleansed when it dies.
class CryptoInfo {
 public:
  /// `key` as derive_key() returns it. With AES-GCM in TLS 1.2 the explicit part of the nonce
  /// starts at the sequence number.
  CryptoInfo(RecordVersion version, CipherSuite suite, const RecordKey& key,
             std::uint64_t rec_seq) noexcept;
  ~CryptoInfo();
  CryptoInfo(const CryptoInfo&) = delete;
  CryptoInfo& operator=(const CryptoInfo&) = delete;

  /// The option's value; as long as the kernel expects for this cipher.
  std::span<const std::byte> bytes() const noexcept;

  /// The number of the next record in `direction`, TLS_TX or TLS_RX, of a socket that has a key of
  /// this suite, as getsockopt(2) tells it. Nothing if that fails.
  static std::optional<std::uint64_t> next_record(int descriptor, int direction,
                                                  CipherSuite suite) noexcept;

 private:
  union Value {
    tls_crypto_info any;
    tls12_crypto_info_aes_gcm_128 aes_128_gcm;
    tls12_crypto_info_aes_gcm_256 aes_256_gcm;
    tls12_crypto_info_chacha20_poly1305 chacha20_poly1305;
  };
  static std::size_t size_of(CipherSuite suite) noexcept;

  Value value_{};
  CipherSuite suite_;
};

}  // namespace sallyport::ktls
