#include "ktls/trust/handshake_result.h"

namespace sallyport::ktls {

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
    case kLimitReached:  // the client's identity is known; else it gets internal_error
      return AlertDescription::kAccessDenied;
    case kNoEndpoint:
    case kBackendRefused:
    case kBackendTimeout:
    case kBackendTlsFailed:
    case kBackendExpired:
    case kBackendRevoked:
    case kBackendUntrusted:
    case kBackendNotVerified:
    case kShed:
      return AlertDescription::kInternalError;
    case kDrain:
      return AlertDescription::kCloseNotify;
    default:
      return std::nullopt;
  }
}

}  // namespace sallyport::ktls
