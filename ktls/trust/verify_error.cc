#include "ktls/trust/verify_error.h"

#include <openssl/x509_vfy.h>

namespace sallyport::ktls {

HandshakeResult result_of_verify_error(int error) noexcept {
  using enum HandshakeResult;
  switch (error) {
    case X509_V_OK:
      return kSuccess;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return kCertificateExpired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return kCertificateNotYetValid;
    case X509_V_ERR_CERT_REVOKED:
      return kCertificateRevoked;

    case X509_V_ERR_CRL_HAS_EXPIRED:
      return kCrlExpired;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
      return kCrlUnavailable;

    // No path to an anchor: an unknown issuer, or one that has a known name and another key.
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
    case X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_REJECTED:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_INVALID_NON_CA:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
    case X509_V_ERR_AKID_SKID_MISMATCH:
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
      return kCertificateAuthorityInvalid;

    case X509_V_ERR_INVALID_PURPOSE:
      return kCertificatePurposeInvalid;

    case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
    case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
    case X509_V_ERR_INVALID_EXTENSION:
      return kCertificateMalformed;
    default:
      return kCertificateVerificationFailed;
  }
}

AlertDescription alert_of_verify_error(int error) noexcept {
  switch (error) {
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
    case X509_V_ERR_EC_KEY_EXPLICIT_PARAMS:
      return AlertDescription::kBadCertificate;
    case X509_V_ERR_UNSPECIFIED:
    case X509_V_ERR_OUT_OF_MEM:
    case X509_V_ERR_STORE_LOOKUP:
    case X509_V_ERR_INVALID_CALL:
      return AlertDescription::kInternalError;
    default:
      return AlertDescription::kCertificateUnknown;
  }
}

int verify_error_for_alert(HandshakeResult result, int error) noexcept {
  const auto alert = alert_for(result);
  if (!alert) return error;
  switch (*alert) {
    case AlertDescription::kCertificateExpired:
      return X509_V_ERR_CERT_HAS_EXPIRED;
    case AlertDescription::kCertificateRevoked:
      return X509_V_ERR_CERT_REVOKED;
    case AlertDescription::kUnknownCa:
      return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    case AlertDescription::kBadCertificate:
      return X509_V_ERR_CERT_REJECTED;
    case AlertDescription::kUnsupportedCertificate:
      return X509_V_ERR_INVALID_PURPOSE;
    default:
      return error;
  }
}

}  // namespace sallyport::ktls
