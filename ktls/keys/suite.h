#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sallyport::ktls {

/// The version of TLS: of its record layer, and of its derivation of keys from secrets.
enum class RecordVersion : std::uint8_t { kTls12, kTls13 };

/// The supported cipher suites of TLS 1.3, by their code points (RFC 8446 B.4). A record layer
/// needs of a TLS 1.2 suite the AEAD and the hash alone, so one of these stands for it there.
enum class CipherSuite : std::uint16_t {
  kAes128GcmSha256 = 0x1301,
  kAes256GcmSha384 = 0x1302,
  kChaCha20Poly1305Sha256 = 0x1303,
};

/// All of them.
inline constexpr std::array kCipherSuites = {CipherSuite::kAes128GcmSha256,
                                             CipherSuite::kAes256GcmSha384,
                                             CipherSuite::kChaCha20Poly1305Sha256};

inline constexpr std::size_t kMaxKeySize = 32;   ///< bytes; AES-256 and ChaCha20
inline constexpr std::size_t kMaxHashSize = 48;  ///< bytes; SHA-384, so of any traffic secret
inline constexpr std::size_t kIvSize = 12;       ///< bytes; the per-record nonce, RFC 8446 5.3
inline constexpr std::size_t kTagSize = 16;      ///< bytes; the AEAD tag of all three suites

/// A supported cipher suite of TLS 1.2: ECDHE, certificates, an AEAD (RFC 5289, RFC 7905).
struct Tls12Suite {
  std::uint16_t code_point;
  CipherSuite records;    ///< its AEAD, and the hash of its PRF
  std::string_view name;  ///< OpenSSL's; what HAProxy, nginx and Envoy log
};
inline constexpr std::array<Tls12Suite, 6> kTls12Suites{{
    {0xc02b, CipherSuite::kAes128GcmSha256, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {0xc02f, CipherSuite::kAes128GcmSha256, "ECDHE-RSA-AES128-GCM-SHA256"},
    {0xc02c, CipherSuite::kAes256GcmSha384, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {0xc030, CipherSuite::kAes256GcmSha384, "ECDHE-RSA-AES256-GCM-SHA384"},
    {0xcca9, CipherSuite::kChaCha20Poly1305Sha256, "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {0xcca8, CipherSuite::kChaCha20Poly1305Sha256, "ECDHE-RSA-CHACHA20-POLY1305"},
}};

/// Bytes of the AEAD key.
constexpr std::size_t key_size(CipherSuite suite) noexcept {
  return suite == CipherSuite::kAes128GcmSha256 ? 16 : 32;
}

/// Bytes of the suite's hash, which is also the size of its traffic secrets.
constexpr std::size_t hash_size(CipherSuite suite) noexcept {
  return suite == CipherSuite::kAes256GcmSha384 ? 48 : 32;
}

/// Records that may be sealed under one key before the sender must send KeyUpdate (RFC 8446 5.5).
/// AES-GCM: 2^24.5 full-size records; the limit of 2^24 leaves room for records in flight.
/// ChaCha20-Poly1305: the sequence number would wrap first, which the RFC forbids; the limit is
/// long before.
constexpr std::uint64_t record_limit(CipherSuite suite) noexcept {
  return suite == CipherSuite::kChaCha20Poly1305Sha256 ? std::uint64_t{1} << 62
                                                       : std::uint64_t{1} << 24;
}

/// Bytes of the iv that TLS 1.2 derives with the key. For AES-GCM it is the first part of each
/// nonce, whose rest is sent with the record (RFC 5288 3); for ChaCha20-Poly1305 all of it (RFC
/// 7905 2).
constexpr std::size_t fixed_iv_size(CipherSuite suite) noexcept {
  return suite == CipherSuite::kChaCha20Poly1305Sha256 ? kIvSize : 4;
}

/// "TLSv1.2", "TLSv1.3"; static storage.
constexpr std::string_view name(RecordVersion version) noexcept {
  return version == RecordVersion::kTls12 ? "TLSv1.2" : "TLSv1.3";
}

/// The IANA name, `TLS_AES_128_GCM_SHA256`.
std::string_view name(CipherSuite suite) noexcept;

/// The AEAD, as operators and kernel modules call it: `AES-128-GCM`.
std::string_view aead_name(CipherSuite suite) noexcept;

/// The suite of a code point of either version; nothing if it is not supported.
std::optional<CipherSuite> suite_from_code_point(std::uint16_t code_point) noexcept;

/// The suite of an IANA name; nothing if it is not supported.
std::optional<CipherSuite> suite_from_name(std::string_view wanted) noexcept;

}  // namespace sallyport::ktls
