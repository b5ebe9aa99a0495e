#include "ktls/handshake/classify.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

namespace sallyport::ktls {

HandshakeResult classify_handshake_error(const OpensslError& error) noexcept {
  using enum HandshakeResult;
  if (ERR_GET_LIB(error.code) != ERR_LIB_SSL) return kUnknownFailure;
  const int reason = ERR_GET_REASON(error.code);
  // Alerts received are reasons from 1000 on; reasons shared by all libraries lie far above.
  if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
    return kPeerConnectionClosed;
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return kCertificateRequired;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_CERT_LENGTH_MISMATCH:
    case SSL_R_UNKNOWN_CERTIFICATE_TYPE:
    case SSL_R_NO_CERTIFICATE_ASSIGNED:
    case SSL_R_WRONG_CURVE:  // TLS 1.2: the certificate's is not among our groups
    case ERR_R_ASN1_LIB:     // the certificate cannot be decoded
      return kCertificateVerificationFailed;

    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_BAD_LEGACY_VERSION:
    case SSL_R_INAPPROPRIATE_FALLBACK:
    case SSL_R_UNKNOWN_PROTOCOL:
      return kProtocolVersionUnsupported;

    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_SPECIFIED:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_MISSING_SIGALGS_EXTENSION:
    case SSL_R_BAD_CIPHER:
      return kCipherSuiteMismatch;

    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_BAD_KEY_SHARE:
    case SSL_R_MISSING_SUPPORTED_GROUPS_EXTENSION:
    case SSL_R_BAD_ECPOINT:
      return kKeyExchangeFailure;

    case SSL_R_BAD_SIGNATURE:
    case SSL_R_WRONG_SIGNATURE_TYPE:
    case SSL_R_WRONG_SIGNATURE_SIZE:
    case SSL_R_SIGNATURE_FOR_NON_SIGNING_CERTIFICATE:
      return kSignatureVerificationFailed;

    case SSL_R_DECRYPTION_FAILED:
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_DIGEST_CHECK_FAILED:  // Finished or a PSK binder that does not fit
    case SSL_R_BINDER_DOES_NOT_VERIFY:
      return kDecryptionFailed;

    // Bytes that are not TLS, messages out of turn, fields that cannot be parsed.
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_UNEXPECTED_RECORD:
    case SSL_R_UNEXPECTED_CCS_MESSAGE:
    case SSL_R_UNEXPECTED_END_OF_EARLY_DATA:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_BAD_LENGTH:
    case SSL_R_BAD_PACKET:
    case SSL_R_BAD_EXTENSION:
    case SSL_R_BAD_CHANGE_CIPHER_SPEC:
    case SSL_R_BAD_HELLO_REQUEST:
    case SSL_R_BAD_PSK_IDENTITY:
    case SSL_R_BAD_PSK:
    case SSL_R_BAD_EARLY_DATA:
    case SSL_R_BAD_DATA_RETURNED_BY_CALLBACK:
    case SSL_R_CCS_RECEIVED_EARLY:
    case SSL_R_NO_COMPRESSION_SPECIFIED:
    case SSL_R_INVALID_COMPRESSION_ALGORITHM:
    case SSL_R_CLIENTHELLO_TLSEXT:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
    case SSL_R_INVALID_CCS_MESSAGE:
    case SSL_R_INVALID_ALERT:
    case SSL_R_UNKNOWN_ALERT_TYPE:
    case SSL_R_LENGTH_MISMATCH:
    case SSL_R_LENGTH_TOO_LONG:
    case SSL_R_LENGTH_TOO_SHORT:
    case SSL_R_NOT_ON_RECORD_BOUNDARY:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_TOO_SMALL:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_TOO_MANY_WARN_ALERTS:
    case SSL_R_UNSOLICITED_EXTENSION:
    case SSL_R_MISSING_PSK_KEX_MODES_EXTENSION:
    case SSL_R_DUPLICATE_COMPRESSION_ID:
      return kUnexpectedMessage;
    default:
      return kUnknownFailure;
  }
}

HandshakeResult classify_verify_error(int error) noexcept {
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

    // No path to an anchor: nobody known, or somebody who only bears a known name.
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
