#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ktls/records/record.h"
#include "ktls/trust/judgement_step.h"

namespace sallyport::ktls {

/// How a handshake ended: the word of log, metric and close reason, as in gRPC proposal A118 where
/// it has one. The results that a handshake by itself cannot have (not_authorized, shed, ...) are
/// given by the gateway.
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
  kBackendTlsFailed,
  // Of the backend's certificate.
  kBackendExpired,
  kBackendRevoked,
  kBackendUntrusted,
  kBackendNotVerified,
  kShed,
  kLimitReached,
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
  kPeerConnectionClosed,  ///< also: the peer ended the handshake with an alert of its own
  kUnknownFailure,
};

inline constexpr std::size_t kHandshakeResults =
    static_cast<std::size_t>(HandshakeResult::kUnknownFailure) + 1;

/// The word, `certificate_required`.
constexpr std::string_view to_string(HandshakeResult result) noexcept {
  switch (result) {
    using enum HandshakeResult;
    case kSuccess:
      return "success";
    case kCertificateRequired:
      return "certificate_required";
    case kCertificateExpired:
      return "certificate_expired";
    case kCertificateRevoked:
      return "certificate_revoked";
    case kCrlUnavailable:
      return "crl_unavailable";
    case kCrlExpired:
      return "crl_expired";
    case kCertificateAuthorityInvalid:
      return "certificate_authority_invalid";
    case kCertificateNotYetValid:
      return "certificate_not_yet_valid";
    case kCertificateMalformed:
      return "certificate_malformed";
    case kCertificatePurposeInvalid:
      return "certificate_purpose_invalid";
    case kNoApplicationProtocol:
      return "no_application_protocol";
    case kNoRoute:
      return "no_route";
    case kNotAuthorized:
      return "not_authorized";
    case kNoEndpoint:
      return "no_endpoint";
    case kBackendRefused:
      return "backend_refused";
    case kBackendTimeout:
      return "backend_timeout";
    case kBackendTlsFailed:
      return "backend_tls_failed";
    case kBackendExpired:
      return "backend_expired";
    case kBackendRevoked:
      return "backend_revoked";
    case kBackendUntrusted:
      return "backend_untrusted";
    case kBackendNotVerified:
      return "backend_not_verified";
    case kShed:
      return "shed";
    case kLimitReached:
      return "limit_reached";
    case kDrain:
      return "drain";
    case kCertificateVerificationFailed:
      return "certificate_verification_failed";
    case kCipherSuiteMismatch:
      return "cipher_suite_mismatch";
    case kProtocolVersionUnsupported:
      return "protocol_version_unsupported";
    case kSignatureVerificationFailed:
      return "signature_verification_failed";
    case kDecryptionFailed:
      return "decryption_failed";
    case kKeyExchangeFailure:
      return "key_exchange_failure";
    case kUnexpectedMessage:
      return "unexpected_message";
    case kHandshakeTimeout:
      return "handshake_timeout";
    case kPeerConnectionClosed:
      return "peer_connection_closed";
    case kUnknownFailure:
      return "unknown_failure";
  }
  std::abort();
}

/// The words in the order of the enumeration: the label values of tls_handshakes_total{result}.
inline constexpr std::array<std::string_view, kHandshakeResults> kHandshakeResultWords = [] {
  std::array<std::string_view, kHandshakeResults> words;
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = to_string(HandshakeResult{static_cast<std::uint8_t>(i)});
  return words;
}();

/// The alert that a client gets for this refusal (docs/operate.md); nothing where it gets none.
/// In TLS 1.2, which has no certificate_required, OpenSSL sends handshake_failure for it.
std::optional<AlertDescription> alert_for(HandshakeResult result) noexcept;

struct PresentedCertificate;

/// Why a handshake failed, for the log. A member that is not known is empty.
struct HandshakeFailure {
  HandshakeResult result = HandshakeResult::kUnknownFailure;
  std::string detail{};  ///< free text; may hold text of the peer, made printable
  /// Of the certificate that was refused, where there was one.
  std::string issuer{};  ///< RFC 2253, printable
  std::string serial{};  ///< hexadecimal, upper case
  std::optional<std::chrono::sys_seconds> not_after{};
  /// Of the peer's own certificate, where its chain was refused; else null.
  std::shared_ptr<const PresentedCertificate> presented{};
  /// Likewise: of its judgement, up to the one that failed and what was judged beside it.
  JudgementSteps steps{};
};

}  // namespace sallyport::ktls
