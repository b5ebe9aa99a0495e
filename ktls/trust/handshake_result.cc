#include "ktls/trust/handshake_result.h"

#include <cstdlib>

namespace sallyport::ktls {

std::string_view to_string(HandshakeResult result) noexcept {
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
    case kShed:
      return "shed";
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

std::optional<AlertDescription> alert_for(HandshakeResult result) noexcept {
  switch (result) {
    using enum HandshakeResult;
    case kCertificateRequired:
      return AlertDescription::kCertificateRequired;
    case kCertificateExpired:
      return AlertDescription::kCertificateExpired;
    case kCertificateRevoked:
      return AlertDescription::kCertificateRevoked;
    case kCrlUnavailable:
    case kCrlExpired:
    case kCertificateAuthorityInvalid:
      return AlertDescription::kUnknownCa;
    case kCertificateNotYetValid:
    case kCertificateMalformed:
      return AlertDescription::kBadCertificate;
    case kCertificatePurposeInvalid:
      return AlertDescription::kUnsupportedCertificate;
    case kNoApplicationProtocol:
      return AlertDescription::kNoApplicationProtocol;
    case kNoRoute:
      return AlertDescription::kUnrecognizedName;
    case kNotAuthorized:
      return AlertDescription::kAccessDenied;
    case kNoEndpoint:
    case kBackendRefused:
    case kBackendTimeout:
    case kShed:
      return AlertDescription::kInternalError;
    case kDrain:
      return AlertDescription::kCloseNotify;
    default:
      return std::nullopt;
  }
}

}  // namespace sallyport::ktls
