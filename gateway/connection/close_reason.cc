#include "gateway/connection/close_reason.h"

#include <cstdio>
#include <cstdlib>

namespace sallyport::gateway {
namespace {

// The refusals are ktls::HandshakeResult without kSuccess, in the same order: what follows counts
// on it, and the tests compare the words.
constexpr std::size_t kSuccesses = 1;
static_assert(static_cast<std::size_t>(ktls::HandshakeResult::kSuccess) == 0);
static_assert(static_cast<std::size_t>(CloseReason::kUnknownFailure) + kSuccesses ==
              static_cast<std::size_t>(ktls::HandshakeResult::kUnknownFailure));
static_assert(static_cast<std::size_t>(CloseReason::kDrain) + kSuccesses ==
              static_cast<std::size_t>(ktls::HandshakeResult::kDrain));

}  // namespace

constexpr std::array<std::string_view, kCloseReasonCount> kCloseReasonWords{
    "certificate_required",
    "certificate_expired",
    "certificate_revoked",
    "crl_unavailable",
    "crl_expired",
    "certificate_authority_invalid",
    "certificate_not_yet_valid",
    "certificate_malformed",
    "certificate_purpose_invalid",
    "no_application_protocol",
    "no_route",
    "not_authorized",
    "no_endpoint",
    "backend_refused",
    "backend_timeout",
    "shed",
    "drain",
    "certificate_verification_failed",
    "cipher_suite_mismatch",
    "protocol_version_unsupported",
    "signature_verification_failed",
    "decryption_failed",
    "key_exchange_failure",
    "unexpected_message",
    "handshake_timeout",
    "peer_connection_closed",
    "unknown_failure",
    "closed_before_hello",
    "done",
    "client_closed",
    "backend_closed",
    "client_truncated",
    "client_reset",
    "backend_reset",
    "idle_timeout",
    "lifetime",
    "half_close_timeout",
    "record_error",
    "keyupdate_flood",
    "keyupdate_unsupported",
    "internal_error",
};
static_assert(!kCloseReasonWords.back().empty(), "a reason without a word");

constexpr std::array<std::string_view, ktls::kHandshakeResults> kHandshakeResultWords = [] {
  std::array<std::string_view, ktls::kHandshakeResults> words{"success"};
  for (std::size_t i = kSuccesses; i < words.size(); ++i) {
    words[i] = kCloseReasonWords[i - kSuccesses];
  }
  return words;
}();

std::string_view to_string(CloseReason reason) {
  return kCloseReasonWords.at(static_cast<std::size_t>(reason));
}

CloseReason close_reason(ktls::HandshakeResult result) {
  if (result == ktls::HandshakeResult::kSuccess) {
    std::fputs("close_reason: a successful handshake ends no connection\n", stderr);
    std::abort();
  }
  return static_cast<CloseReason>(static_cast<std::size_t>(result) - kSuccesses);
}

ktls::HandshakeResult handshake_result(CloseReason reason) {
  if (!is_refusal(reason)) return ktls::HandshakeResult::kUnknownFailure;
  return static_cast<ktls::HandshakeResult>(static_cast<std::size_t>(reason) + kSuccesses);
}

}  // namespace sallyport::gateway
