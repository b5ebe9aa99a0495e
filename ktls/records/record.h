#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ktls/keys/suite.h"

namespace sallyport::ktls {

/// Which end of the connection this is; what the peer may send after the handshake depends on it.
enum class Role : std::uint8_t { kServer, kClient };

/// RFC 8446 5.1.
enum class ContentType : std::uint8_t {
  kInvalid = 0,
  kChangeCipherSpec = 20,
  kAlert = 21,
  kHandshake = 22,
  kApplicationData = 23,
};

/// RFC 8446 6. In TLS 1.3 the level means nothing, the description decides; in TLS 1.2 it tells
/// whether the alert ends the connection (RFC 5246 7.2).
enum class AlertLevel : std::uint8_t { kWarning = 1, kFatal = 2 };

/// RFC 8446 B.2; other values can arrive and are kept as they are.
enum class AlertDescription : std::uint8_t {
  kCloseNotify = 0,
  kUnexpectedMessage = 10,
  kBadRecordMac = 20,
  kRecordOverflow = 22,
  kHandshakeFailure = 40,
  kBadCertificate = 42,
  kUnsupportedCertificate = 43,
  kCertificateRevoked = 44,
  kCertificateExpired = 45,
  kCertificateUnknown = 46,
  kIllegalParameter = 47,
  kUnknownCa = 48,
  kAccessDenied = 49,
  kDecodeError = 50,
  kDecryptError = 51,
  kProtocolVersion = 70,
  kInsufficientSecurity = 71,
  kInternalError = 80,
  kInappropriateFallback = 86,
  kUserCanceled = 90,
  kNoRenegotiation = 100,  ///< TLS 1.2: RFC 5246 7.2.2
  kMissingExtension = 109,
  kUnsupportedExtension = 110,
  kUnrecognizedName = 112,
  kBadCertificateStatusResponse = 113,
  kUnknownPskIdentity = 115,
  kCertificateRequired = 116,
  kNoApplicationProtocol = 120,
};

/// Every alert but close_notify and user_canceled is fatal, whatever its level says (RFC 8446 6.2).
constexpr bool is_fatal(AlertDescription description) noexcept {
  return description != AlertDescription::kCloseNotify &&
         description != AlertDescription::kUserCanceled;
}

inline constexpr std::size_t kRecordHeaderSize = 5;        ///< bytes: type, version, length
inline constexpr std::size_t kHandshakeHeaderSize = 4;     ///< bytes: type, length (RFC 8446 4)
inline constexpr std::size_t kMaxPlaintextSize = 1 << 14;  ///< bytes of content in one record
inline constexpr std::size_t kMaxCiphertextSize = kMaxPlaintextSize + 256;  ///< RFC 8446 5.2
inline constexpr std::size_t kMaxRecordSize = kRecordHeaderSize + kMaxCiphertextSize;
/// Bytes that a record of TLS 1.3 has beyond its content: header, inner content type, tag.
inline constexpr std::size_t kRecordOverhead = kRecordHeaderSize + 1 + kTagSize;

/// Bytes between header and content: the explicit part of the nonce, which TLS 1.2 sends with each
/// record under AES-GCM (RFC 5288 3).
constexpr std::size_t explicit_nonce_size(RecordVersion version, CipherSuite suite) noexcept {
  return version == RecordVersion::kTls12 ? kIvSize - fixed_iv_size(suite) : 0;
}

/// Bytes that a record sent by this end has beyond its content.
constexpr std::size_t record_overhead(RecordVersion version, CipherSuite suite) noexcept {
  if (version == RecordVersion::kTls13) return kRecordOverhead;
  return kRecordHeaderSize + explicit_nonce_size(version, suite) + kTagSize;
}
inline constexpr std::size_t kMaxRecordOverhead =
    record_overhead(RecordVersion::kTls12, CipherSuite::kAes128GcmSha256);

/// Bytes of `content` sealed into as few records as possible, header to tag.
constexpr std::size_t sealed_size(std::size_t content, std::size_t overhead = kRecordOverhead,
                                  std::size_t max_fragment = kMaxPlaintextSize) noexcept {
  const std::size_t records = content == 0 ? 1 : (content + max_fragment - 1) / max_fragment;
  return content + records * overhead;
}

/// The five bytes before a record. legacy_record_version is ignored on receipt, as RFC 8446 5.1
/// demands; a changed version is still detected, because the AEAD covers the header.
struct RecordHeader {
  ContentType type = ContentType::kInvalid;
  std::uint16_t length = 0;  ///< bytes that follow the header

  static RecordHeader parse(std::span<const std::byte, kRecordHeaderSize> bytes) noexcept;
  /// With version 0x0303, as every record after the first ClientHello has it.
  std::array<std::byte, kRecordHeaderSize> serialise() const noexcept;
};

/// A fatal alert in plaintext, record header and all: for refusing before any crypto (`shed`).
constexpr std::array<std::byte, 7> plaintext_alert(AlertDescription description) noexcept {
  return {std::byte{21},
          std::byte{3},
          std::byte{3},
          std::byte{0},
          std::byte{2},
          std::byte{static_cast<std::uint8_t>(AlertLevel::kFatal)},
          std::byte{static_cast<std::uint8_t>(description)}};
}

/// Whether a record can begin with this byte.
constexpr bool is_content_type(std::byte first) noexcept {
  const auto type = static_cast<ContentType>(first);
  return type == ContentType::kChangeCipherSpec || type == ContentType::kAlert ||
         type == ContentType::kHandshake || type == ContentType::kApplicationData;
}

/// Whether these bytes announce a record of a handshake: a type, a version and a length that exist.
inline bool announces_record(std::span<const std::byte, kRecordHeaderSize> header) noexcept {
  return is_content_type(header[0]) && header[1] == std::byte{3} &&
         RecordHeader::parse(header).length <= kMaxCiphertextSize;
}

}  // namespace sallyport::ktls
