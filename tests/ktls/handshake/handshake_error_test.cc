#include "ktls/handshake/handshake_error.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evperr.h>
#include <openssl/ssl.h>

#include <initializer_list>

#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {
namespace {

using enum HandshakeResult;

HandshakeResult result_of(int library, int reason) {
  ERR_clear_error();
  ERR_raise(library, reason);
  return result_of_handshake_error(OpensslError::drain());
}

void expect(HandshakeResult result, std::initializer_list<int> reasons) {
  for (const int reason : reasons)
    EXPECT_EQ(to_string(result_of(ERR_LIB_SSL, reason)), to_string(result))
        << ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason));
}

TEST(HandshakeError, OfACertificateIsToldFromThatOfItsSignature) {
  expect(kCertificateRequired, {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE});
  expect(
      kCertificateVerificationFailed,
      {SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_R_CERT_LENGTH_MISMATCH, SSL_R_UNKNOWN_CERTIFICATE_TYPE,
       SSL_R_NO_CERTIFICATE_ASSIGNED, SSL_R_WRONG_CURVE, ERR_R_ASN1_LIB});
  expect(kSignatureVerificationFailed,
         {SSL_R_BAD_SIGNATURE, SSL_R_WRONG_SIGNATURE_TYPE, SSL_R_WRONG_SIGNATURE_SIZE,
          SSL_R_SIGNATURE_FOR_NON_SIGNING_CERTIFICATE});
}

TEST(HandshakeError, SaysWhatBothSidesDoNotShare) {
  expect(kNoApplicationProtocol, {SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL});
  expect(kProtocolVersionUnsupported,
         {SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH,
          SSL_R_NO_PROTOCOLS_AVAILABLE, SSL_R_BAD_LEGACY_VERSION, SSL_R_WRONG_SSL_VERSION,
          SSL_R_INAPPROPRIATE_FALLBACK, SSL_R_UNKNOWN_PROTOCOL});
  expect(kCipherSuiteMismatch,
         {SSL_R_NO_SHARED_CIPHER, SSL_R_NO_CIPHERS_SPECIFIED, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,
          SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_MISSING_SIGALGS_EXTENSION, SSL_R_BAD_CIPHER,
          SSL_R_WRONG_CIPHER_RETURNED, SSL_R_UNKNOWN_CIPHER_RETURNED});
  expect(kKeyExchangeFailure, {SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SUITABLE_GROUPS,
                               SSL_R_BAD_KEY_SHARE, SSL_R_MISSING_SUPPORTED_GROUPS_EXTENSION,
                               SSL_R_BAD_ECPOINT, SSL_R_UNKNOWN_KEY_EXCHANGE_TYPE});
}

TEST(HandshakeError, OfAKeyThatDoesNotFitIsOfDecryption) {
  expect(kDecryptionFailed, {SSL_R_DECRYPTION_FAILED, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC,
                             SSL_R_DIGEST_CHECK_FAILED, SSL_R_BINDER_DOES_NOT_VERIFY});
}

TEST(HandshakeError, OfBytesThatAreNotTlsOrOutOfOrderIsAnUnexpectedMessage) {
  expect(kUnexpectedMessage, {SSL_R_HTTP_REQUEST,
                              SSL_R_HTTPS_PROXY_REQUEST,
                              SSL_R_WRONG_VERSION_NUMBER,
                              SSL_R_UNEXPECTED_MESSAGE,
                              SSL_R_UNEXPECTED_RECORD,
                              SSL_R_UNEXPECTED_CCS_MESSAGE,
                              SSL_R_UNEXPECTED_END_OF_EARLY_DATA,
                              SSL_R_BAD_RECORD_TYPE,
                              SSL_R_BAD_LENGTH,
                              SSL_R_BAD_PACKET,
                              SSL_R_BAD_EXTENSION,
                              SSL_R_BAD_CHANGE_CIPHER_SPEC,
                              SSL_R_BAD_HELLO_REQUEST,
                              SSL_R_BAD_PSK_IDENTITY,
                              SSL_R_BAD_PSK,
                              SSL_R_BAD_EARLY_DATA,
                              SSL_R_BAD_DATA_RETURNED_BY_CALLBACK,
                              SSL_R_CCS_RECEIVED_EARLY,
                              SSL_R_NO_COMPRESSION_SPECIFIED,
                              SSL_R_INVALID_COMPRESSION_ALGORITHM,
                              SSL_R_CLIENTHELLO_TLSEXT,
                              SSL_R_DATA_LENGTH_TOO_LONG,
                              SSL_R_ENCRYPTED_LENGTH_TOO_LONG,
                              SSL_R_EXCESSIVE_MESSAGE_SIZE,
                              SSL_R_INVALID_CCS_MESSAGE,
                              SSL_R_INVALID_ALERT,
                              SSL_R_UNKNOWN_ALERT_TYPE,
                              SSL_R_LENGTH_MISMATCH,
                              SSL_R_LENGTH_TOO_LONG,
                              SSL_R_LENGTH_TOO_SHORT,
                              SSL_R_NOT_ON_RECORD_BOUNDARY,
                              SSL_R_PACKET_LENGTH_TOO_LONG,
                              SSL_R_RECORD_TOO_SMALL,
                              SSL_R_RECORD_LENGTH_MISMATCH,
                              SSL_R_TOO_MANY_WARN_ALERTS,
                              SSL_R_UNSOLICITED_EXTENSION,
                              SSL_R_MISSING_PSK_KEX_MODES_EXTENSION,
                              SSL_R_DUPLICATE_COMPRESSION_ID,
                              SSL_R_INVALID_SESSION_ID,
                              SSL_R_BAD_HRR_VERSION,
                              SSL_R_NO_CHANGE_FOLLOWING_HRR,
                              SSL_R_RENEGOTIATION_ENCODING_ERR,
                              SSL_R_RENEGOTIATION_MISMATCH});
}

// libssl's reasons from 1000 on are the alerts that the peer sent.
TEST(HandshakeError, OfAnAlertOfThePeersIsItsEnd) {
  for (int alert = 0; alert < 256; ++alert) {
    if (alert == SSL_AD_NO_APPLICATION_PROTOCOL) continue;  // says what is not shared
    EXPECT_EQ(result_of(ERR_LIB_SSL, SSL_AD_REASON_OFFSET + alert), kPeerConnectionClosed) << alert;
  }
  EXPECT_EQ(result_of(ERR_LIB_SSL, SSL_AD_REASON_OFFSET + 256), kUnknownFailure);
}

TEST(HandshakeError, ThatThePeerDidNotCauseIsUnknown) {
  EXPECT_EQ(result_of(ERR_LIB_SSL, ERR_R_INTERNAL_ERROR), kUnknownFailure);
  EXPECT_EQ(result_of(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE), kUnknownFailure);
  EXPECT_EQ(result_of(ERR_LIB_EVP, EVP_R_DECODE_ERROR), kUnknownFailure);
  // The number of a reason means something in its own library alone.
  EXPECT_EQ(result_of(ERR_LIB_EVP, SSL_R_NO_SHARED_CIPHER), kUnknownFailure);
  EXPECT_EQ(result_of_handshake_error(OpensslError{}), kUnknownFailure) << "no reason at all";
}

}  // namespace
}  // namespace sallyport::ktls
