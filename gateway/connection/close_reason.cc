#include "gateway/connection/close_reason.h"

#include <algorithm>

namespace sallyport::gateway {
namespace {

constexpr std::string_view word_of(CloseReason::End end) {
  switch (end) {
    case CloseReason::kClosedBeforeHello:
      return "closed_before_hello";
    case CloseReason::kDone:
      return "done";
    case CloseReason::kClientClosed:
      return "client_closed";
    case CloseReason::kBackendClosed:
      return "backend_closed";
    case CloseReason::kClientTruncated:
      return "client_truncated";
    case CloseReason::kClientReset:
      return "client_reset";
    case CloseReason::kBackendReset:
      return "backend_reset";
    case CloseReason::kBackendTruncated:
      return "backend_truncated";
    case CloseReason::kBackendAlert:
      return "backend_alert";
    case CloseReason::kBackendRecordError:
      return "backend_record_error";
    case CloseReason::kBackendKeyupdateFlood:
      return "backend_keyupdate_flood";
    case CloseReason::kBackendKeyupdateUnsupported:
      return "backend_keyupdate_unsupported";
    case CloseReason::kIdleTimeout:
      return "idle_timeout";
    case CloseReason::kLifetime:
      return "lifetime";
    case CloseReason::kHalfCloseTimeout:
      return "half_close_timeout";
    case CloseReason::kRecordError:
      return "record_error";
    case CloseReason::kKeyupdateFlood:
      return "keyupdate_flood";
    case CloseReason::kKeyupdateUnsupported:
      return "keyupdate_unsupported";
    case CloseReason::kExpired:
      return to_string(LiveCause::kExpired);
    case CloseReason::kRevoked:
      return to_string(LiveCause::kRevoked);
    case CloseReason::kUntrusted:
      return to_string(LiveCause::kUntrusted);
    case CloseReason::kRouteGone:
      return to_string(LiveCause::kRouteGone);
    case CloseReason::kBackendDown:
      return to_string(LiveCause::kBackendDown);
    case CloseReason::kEndpointRemoved:
      return to_string(LiveCause::kEndpointRemoved);
    case CloseReason::kProxyHeaderInvalid:
      return "proxy_header_invalid";
    case CloseReason::kInternalError:
      return "internal_error";
  }
  std::abort();
}

}  // namespace

constexpr std::array<std::string_view, kCloseReasonCount> kCloseReasonWords = [] {
  std::array<std::string_view, kCloseReasonCount> words;
  std::ranges::copy(ktls::kHandshakeResultWords, words.begin());
  for (std::size_t i = ktls::kHandshakeResults; i < words.size(); ++i) {
    words[i] = word_of(static_cast<CloseReason::End>(i));
  }
  return words;
}();

std::string_view to_string(CloseReason reason) {
  return kCloseReasonWords.at(reason.index());
}

CloseReason reason_of(LiveCause cause) {
  switch (cause) {
    case LiveCause::kRevoked:
      return CloseReason::kRevoked;
    case LiveCause::kUntrusted:
      return CloseReason::kUntrusted;
    case LiveCause::kNotAuthorized:
      return CloseReason::kNotAuthorized;
    case LiveCause::kExpired:
      return CloseReason::kExpired;
    case LiveCause::kRouteGone:
      return CloseReason::kRouteGone;
    case LiveCause::kBackendRevoked:
      return CloseReason::kBackendRevoked;
    case LiveCause::kBackendUntrusted:
      return CloseReason::kBackendUntrusted;
    case LiveCause::kBackendNotVerified:
      return CloseReason::kBackendNotVerified;
    case LiveCause::kBackendExpired:
      return CloseReason::kBackendExpired;
    case LiveCause::kBackendDown:
      return CloseReason::kBackendDown;
    case LiveCause::kEndpointRemoved:
      return CloseReason::kEndpointRemoved;
  }
  std::abort();
}

std::optional<ktls::AlertDescription> alert_of_live(CloseReason reason) {
  if (reason == CloseReason::kRevoked) return ktls::AlertDescription::kCertificateRevoked;
  if (reason == CloseReason::kUntrusted) return ktls::AlertDescription::kUnknownCa;
  if (reason == CloseReason::kNotAuthorized) return ktls::AlertDescription::kAccessDenied;
  return std::nullopt;
}

bool is_offence_of_backend(CloseReason reason) {
  return reason == CloseReason::kBackendRecordError ||
         reason == CloseReason::kBackendKeyupdateFlood ||
         reason == CloseReason::kBackendKeyupdateUnsupported;
}

bool prefers_quiet_moment(CloseReason reason) {
  return reason == CloseReason::kDrain || reason == CloseReason::kLifetime ||
         reason == CloseReason::kExpired || reason == CloseReason::kRouteGone ||
         reason == CloseReason::kBackendExpired || reason == CloseReason::kEndpointRemoved;
}

}  // namespace sallyport::gateway
