#include "ktls/handshake/handshake_error.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace sallyport::ktls {

HandshakeResult result_of_handshake_error(const OpensslError& error) noexcept {
  using enum HandshakeResult;
  if (ERR_GET_LIB(error.code) != ERR_LIB_SSL) return kUnknownFailure;
  const int reason = ERR_GET_REASON(error.code);
  if (reason == SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL)
    return kNoApplicationProtocol;
  // Other alerts received are reasons from 1000 on; reasons shared by all libraries lie far above.
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
    case SSL_R_WRONG_SSL_VERSION:  // a server chose one that was not offered
    case SSL_R_INAPPROPRIATE_FALLBACK:
    case SSL_R_UNKNOWN_PROTOCOL:
      return kProtocolVersionUnsupported;

    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_SPECIFIED:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_MISSING_SIGALGS_EXTENSION:
    case SSL_R_BAD_CIPHER:
    case SSL_R_WRONG_CIPHER_RETURNED:
    case SSL_R_UNKNOWN_CIPHER_RETURNED:
      return kCipherSuiteMismatch;

    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_BAD_KEY_SHARE:
    case SSL_R_MISSING_SUPPORTED_GROUPS_EXTENSION:
    case SSL_R_BAD_ECPOINT:
    case SSL_R_UNKNOWN_KEY_EXCHANGE_TYPE:
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

    // Bytes that are not TLS, messages out of order, fields that cannot be parsed.
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
    case SSL_R_INVALID_SESSION_ID:
    case SSL_R_BAD_HRR_VERSION:
    case SSL_R_NO_CHANGE_FOLLOWING_HRR:
    case SSL_R_RENEGOTIATION_ENCODING_ERR:
    case SSL_R_RENEGOTIATION_MISMATCH:
      return kUnexpectedMessage;
    default:
      return kUnknownFailure;
  }
}

}  // namespace sallyport::ktls
