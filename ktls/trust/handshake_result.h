#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ktls/records/record.h"

namespace sallyport::ktls {

/// How a handshake ended: the word of log, metric and close reason, by gRPC proposal A118 as far as
/// it has one. The gateway gives the ones that no handshake can know (not_authorized, shed, ...).
enum class HandshakeResult : std::uint8_t {
  kSuccess,
  // Refusals of ours. The alert of each is alert_for().
  kCertificateRequired,
  kCertificateExpired,
  kCertificateRevoked,
  kCrlUnavailable,
  kCrlExpired,
  kCertificateAuthorityInvalid,
  kCertificateNotYetValid,
  kCertificateMalformed,
  kCertificatePurposeInvalid,
  kNoApplicationProtocol,
  kNoRoute,
  kNotAuthorized,
  kNoEndpoint,
  kBackendRefused,
  kBackendTimeout,
  kShed,
  kDrain,
  // Handshakes that failed; OpenSSL chose the alert, if any could be sent.
  kCertificateVerificationFailed,
  kCipherSuiteMismatch,
  kProtocolVersionUnsupported,
  kSignatureVerificationFailed,
  kDecryptionFailed,
  kKeyExchangeFailure,
  kUnexpectedMessage,
  kHandshakeTimeout,
  kPeerConnectionClosed,  ///< also: the client ended the handshake with an alert of its own
  kUnknownFailure,
};

inline constexpr std::size_t kHandshakeResults =
    static_cast<std::size_t>(HandshakeResult::kUnknownFailure) + 1;

/// The word, `certificate_required`.
std::string_view to_string(HandshakeResult result) noexcept;

/// The alert that CONTRACT promises the client for this refusal; nothing where none is promised.
/// In TLS 1.2, which has no certificate_required, OpenSSL says handshake_failure for it.
std::optional<AlertDescription> alert_for(HandshakeResult result) noexcept;

/// Why a handshake failed, for the log. What was never known is empty.
struct HandshakeFailure {
  HandshakeResult result = HandshakeResult::kUnknownFailure;
  std::string detail{};  ///< for people; holds text that the peer chose, made printable
  /// Of the certificate that was refused, where there was one.
  std::string issuer{};  ///< RFC 2253, printable
  std::string serial{};  ///< hexadecimal, upper case
  std::optional<std::chrono::sys_seconds> not_after{};
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

}  // namespace sallyport::ktls
