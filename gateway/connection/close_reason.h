// Every way in which a connection ends: one enumerator = one log word = one metric label.
//
// The refusals come first, because each of them is also a handshake result: the reason of a
// refused connection is its result word.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

enum class CloseReason : std::uint8_t {
  // Refusals, and handshakes that did not come to an end. The peer gets the alert in the comment.
  kCertificateRequired,          // certificate_required
  kCertificateExpired,           // certificate_expired
  kCertificateRevoked,           // certificate_revoked
  kCrlUnavailable,               // unknown_ca
  kCrlExpired,                   // unknown_ca
  kCertificateAuthorityInvalid,  // unknown_ca
  kCertificateNotYetValid,       // bad_certificate
  kCertificateMalformed,         // bad_certificate
  kCertificatePurposeInvalid,    // unsupported_certificate
  kNoApplicationProtocol,        // no_application_protocol
  kNoRoute,                      // unrecognized_name
  kNotAuthorized,                // access_denied, under the application keys
  kNoEndpoint,                   // internal_error
  kBackendRefused,               // internal_error
  kBackendTimeout,               // internal_error
  kShed,                         // internal_error, in plaintext before any crypto
  kDrain,                        // close_notify; also the end of an established connection
  kCertificateVerificationFailed,
  kCipherSuiteMismatch,
  kProtocolVersionUnsupported,
  kSignatureVerificationFailed,
  kDecryptionFailed,
  kKeyExchangeFailure,
  kUnexpectedMessage,
  kHandshakeTimeout,
  kPeerConnectionClosed,
  kUnknownFailure,
  // Ends of connections that were never a handshake, or whose handshake succeeded.
  kClosedBeforeHello,
  kDone,  // both sides closed cleanly
  kClientClosed,
  kBackendClosed,
  kClientTruncated,  // FIN without close_notify
  kClientReset,
  kBackendReset,
  kIdleTimeout,
  kLifetime,
  kHalfCloseTimeout,
  kRecordError,
  kKeyupdateFlood,
  kKeyupdateUnsupported,
  kInternalError,
};

inline constexpr std::size_t kCloseReasonCount =
    static_cast<std::size_t>(CloseReason::kInternalError) + 1;

/// The enumerators below this one are handshake results too.
inline constexpr std::size_t kRefusalCount =
    static_cast<std::size_t>(CloseReason::kUnknownFailure) + 1;

/// The words, in the order of the enumeration: the label values of connections_closed_total.
extern const std::array<std::string_view, kCloseReasonCount> kCloseReasonWords;

/// The label values of tls_handshakes_total{result}, in the order of ktls::HandshakeResult.
extern const std::array<std::string_view, ktls::kHandshakeResults> kHandshakeResultWords;

[[nodiscard]] std::string_view to_string(CloseReason reason);

/// Whether the reason is a handshake result too.
[[nodiscard]] constexpr bool is_refusal(CloseReason reason) {
  return reason <= CloseReason::kUnknownFailure;
}

/// The reason with the same word. Aborts for kSuccess, which ends no connection.
[[nodiscard]] CloseReason close_reason(ktls::HandshakeResult result);

/// The result of a handshake that ended for this reason: the one with the same word, or
/// unknown_failure for a reason that is no result (internal_error, ...).
[[nodiscard]] ktls::HandshakeResult handshake_result(CloseReason reason);

/// The same as indices into kHandshakeResultWords.
inline constexpr std::size_t kHandshakeSuccess = 0;
[[nodiscard]] inline std::size_t handshake_result_index(CloseReason reason) {
  return static_cast<std::size_t>(handshake_result(reason));
}

}  // namespace sallyport::gateway
