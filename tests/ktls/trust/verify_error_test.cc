#include "ktls/trust/verify_error.h"

#include <gtest/gtest.h>
#include <openssl/x509_vfy.h>

namespace sallyport::ktls {
namespace {

using enum HandshakeResult;

// Far above the last X509_V_ERR_* of any release.
constexpr int kBeyondErrors = 200;

TEST(VerifyError, TellsWhyAChainWasRefused) {
  struct Case {
    int error;
    HandshakeResult result;
  };
  for (const auto& [error, result] : {
           Case{X509_V_ERR_CERT_HAS_EXPIRED, kCertificateExpired},
           Case{X509_V_ERR_CERT_NOT_YET_VALID, kCertificateNotYetValid},
           Case{X509_V_ERR_CERT_REVOKED, kCertificateRevoked},
           Case{X509_V_ERR_INVALID_PURPOSE, kCertificatePurposeInvalid},
           Case{X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD, kCertificateMalformed},
           Case{X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD, kCertificateMalformed},
           Case{X509_V_ERR_INVALID_EXTENSION, kCertificateMalformed},
           Case{X509_V_ERR_EE_KEY_TOO_SMALL, kCertificateVerificationFailed},
           Case{X509_V_ERR_CA_MD_TOO_WEAK, kCertificateVerificationFailed},
           Case{X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, kCertificateVerificationFailed},
           Case{X509_V_ERR_PERMITTED_VIOLATION, kCertificateVerificationFailed},
           Case{X509_V_ERR_OUT_OF_MEM, kCertificateVerificationFailed},
       })
    EXPECT_EQ(to_string(result_of_verify_error(error)), to_string(result)) << error;
}

TEST(VerifyError, OfACrlIsNeverTakenForAMissingAuthority) {
  for (const int error :
       {X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
        X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE, X509_V_ERR_CRL_SIGNATURE_FAILURE,
        X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD,
        X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD, X509_V_ERR_KEYUSAGE_NO_CRL_SIGN,
        X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, X509_V_ERR_DIFFERENT_CRL_SCOPE,
        X509_V_ERR_CRL_PATH_VALIDATION_ERROR})
    EXPECT_EQ(result_of_verify_error(error), kCrlUnavailable)
        << X509_verify_cert_error_string(error);
  EXPECT_EQ(result_of_verify_error(X509_V_ERR_CRL_HAS_EXPIRED), kCrlExpired);
}

TEST(VerifyError, IsOfTheAuthorityWhereNoPathLeadsToAnAnchor) {
  for (const int error :
       {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE,
        X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY, X509_V_ERR_CERT_SIGNATURE_FAILURE,
        X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
        X509_V_ERR_CERT_CHAIN_TOO_LONG, X509_V_ERR_CERT_UNTRUSTED, X509_V_ERR_CERT_REJECTED,
        X509_V_ERR_INVALID_CA, X509_V_ERR_INVALID_NON_CA, X509_V_ERR_PATH_LENGTH_EXCEEDED,
        X509_V_ERR_KEYUSAGE_NO_CERTSIGN, X509_V_ERR_SUBJECT_ISSUER_MISMATCH,
        X509_V_ERR_AKID_SKID_MISMATCH, X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH})
    EXPECT_EQ(result_of_verify_error(error), kCertificateAuthorityInvalid)
        << X509_verify_cert_error_string(error);
}

TEST(VerifyError, IsASuccessForNoErrorAlone) {
  EXPECT_EQ(result_of_verify_error(X509_V_OK), kSuccess);
  for (int error = -1; error < kBeyondErrors; ++error) {
    if (error == X509_V_OK) continue;
    EXPECT_NE(result_of_verify_error(error), kSuccess) << error;
  }
}

TEST(VerifyError, MakesOpensslSendTheAlertThatIsPromised) {
  const auto told = [](HandshakeResult result) {
    return verify_error_for_alert(result, X509_V_ERR_UNSPECIFIED);
  };
  EXPECT_EQ(told(kCertificateExpired), X509_V_ERR_CERT_HAS_EXPIRED);
  EXPECT_EQ(told(kCertificateRevoked), X509_V_ERR_CERT_REVOKED);
  EXPECT_EQ(told(kCertificatePurposeInvalid), X509_V_ERR_INVALID_PURPOSE);
  for (const auto result : {kCertificateNotYetValid, kCertificateMalformed})
    EXPECT_EQ(told(result), X509_V_ERR_CERT_REJECTED) << to_string(result);
  for (const auto result : {kCrlUnavailable, kCrlExpired, kCertificateAuthorityInvalid})
    EXPECT_EQ(told(result), X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY) << to_string(result);
}

// None at all is promised for the first two, and none that a certificate has for the third.
TEST(VerifyError, LeavesOpensslItsOwnChoiceWhereNoneIsPromised) {
  for (const auto result : {kCertificateVerificationFailed, kUnknownFailure, kNoRoute})
    EXPECT_EQ(verify_error_for_alert(result, X509_V_ERR_EE_KEY_TOO_SMALL),
              X509_V_ERR_EE_KEY_TOO_SMALL)
        << to_string(result);
}

// The others with this result are certificate_unknown to OpenSSL; ClientCertificates compares.
TEST(VerifyError, HasOpensslsAlertWhereNoneIsPromised) {
  EXPECT_EQ(alert_of_verify_error(X509_V_ERR_EE_KEY_TOO_SMALL), AlertDescription::kBadCertificate);
  EXPECT_EQ(alert_of_verify_error(X509_V_ERR_CA_MD_TOO_WEAK), AlertDescription::kBadCertificate);
  EXPECT_EQ(alert_of_verify_error(X509_V_ERR_OUT_OF_MEM), AlertDescription::kInternalError);
  EXPECT_EQ(alert_of_verify_error(X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION),
            AlertDescription::kCertificateUnknown);
  EXPECT_EQ(alert_of_verify_error(X509_V_ERR_PERMITTED_VIOLATION),
            AlertDescription::kCertificateUnknown);
}

}  // namespace
}  // namespace sallyport::ktls
