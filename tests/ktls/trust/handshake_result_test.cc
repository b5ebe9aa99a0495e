#include "ktls/trust/handshake_result.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

namespace sallyport::ktls {
namespace {

using enum HandshakeResult;
using Alert = AlertDescription;

struct Promise {
  HandshakeResult result;
  std::string_view word;
  std::optional<Alert> alert;  ///< none: OpenSSL chooses
};

// What docs/operate.md promises, in the order of the enumeration.
constexpr Promise kPromises[] = {
    {kSuccess, "success", std::nullopt},
    {kCertificateRequired, "certificate_required", Alert::kCertificateRequired},
    {kCertificateExpired, "certificate_expired", Alert::kCertificateExpired},
    {kCertificateRevoked, "certificate_revoked", Alert::kCertificateRevoked},
    {kCrlUnavailable, "crl_unavailable", Alert::kUnknownCa},
    {kCrlExpired, "crl_expired", Alert::kUnknownCa},
    {kCertificateAuthorityInvalid, "certificate_authority_invalid", Alert::kUnknownCa},
    {kCertificateNotYetValid, "certificate_not_yet_valid", Alert::kBadCertificate},
    {kCertificateMalformed, "certificate_malformed", Alert::kBadCertificate},
    {kCertificatePurposeInvalid, "certificate_purpose_invalid", Alert::kUnsupportedCertificate},
    {kNoApplicationProtocol, "no_application_protocol", Alert::kNoApplicationProtocol},
    {kNoRoute, "no_route", Alert::kUnrecognizedName},
    {kNotAuthorized, "not_authorized", Alert::kAccessDenied},
    {kNoEndpoint, "no_endpoint", Alert::kInternalError},
    {kBackendRefused, "backend_refused", Alert::kInternalError},
    {kBackendTimeout, "backend_timeout", Alert::kInternalError},
    {kBackendTlsFailed, "backend_tls_failed", Alert::kInternalError},
    {kBackendExpired, "backend_expired", Alert::kInternalError},
    {kBackendRevoked, "backend_revoked", Alert::kInternalError},
    {kBackendUntrusted, "backend_untrusted", Alert::kInternalError},
    {kBackendNotVerified, "backend_not_verified", Alert::kInternalError},
    {kShed, "shed", Alert::kInternalError},
    {kLimitReached, "limit_reached", Alert::kAccessDenied},
    {kDrain, "drain", Alert::kCloseNotify},
    {kCertificateVerificationFailed, "certificate_verification_failed", std::nullopt},
    {kCipherSuiteMismatch, "cipher_suite_mismatch", std::nullopt},
    {kProtocolVersionUnsupported, "protocol_version_unsupported", std::nullopt},
    {kSignatureVerificationFailed, "signature_verification_failed", std::nullopt},
    {kDecryptionFailed, "decryption_failed", std::nullopt},
    {kKeyExchangeFailure, "key_exchange_failure", std::nullopt},
    {kUnexpectedMessage, "unexpected_message", std::nullopt},
    {kHandshakeTimeout, "handshake_timeout", std::nullopt},
    {kPeerConnectionClosed, "peer_connection_closed", std::nullopt},
    {kUnknownFailure, "unknown_failure", std::nullopt},
};
static_assert(std::size(kPromises) == kHandshakeResults, "a result without its line above");

TEST(HandshakeResults, HaveTheWordAndTheAlertThatArePromised) {
  for (std::size_t i = 0; i < kHandshakeResults; ++i) {
    const Promise& promise = kPromises[i];
    ASSERT_EQ(static_cast<std::size_t>(promise.result), i) << promise.word;
    EXPECT_EQ(to_string(promise.result), promise.word);
    EXPECT_EQ(kHandshakeResultWords[i], promise.word);
    EXPECT_EQ(alert_for(promise.result), promise.alert) << promise.word;
  }
}

TEST(HandshakeResults, HaveAWordEach) {
  std::vector<std::string_view> words(kHandshakeResultWords.begin(), kHandshakeResultWords.end());
  std::ranges::sort(words);
  EXPECT_EQ(std::ranges::adjacent_find(words), words.end());
}

TEST(HandshakeResults, OfARefusalHaveAnAlertThatEndsTheConnection) {
  for (const Promise& promise : kPromises) {
    const auto alert = alert_for(promise.result);
    if (alert && promise.result != kDrain) EXPECT_TRUE(is_fatal(*alert)) << promise.word;
  }
}

}  // namespace
}  // namespace sallyport::ktls
