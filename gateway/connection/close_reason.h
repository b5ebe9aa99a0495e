// Every way in which a connection ends: one enumerator = one log word = one metric label.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "gateway/policy/live_cause.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

/// Either the result of a handshake that did not succeed, whose word and alert are those of
/// ktls::HandshakeResult, or an end of a connection that never was a handshake or whose handshake
/// succeeded. A value of one byte.
class CloseReason {
 public:
  /// The numbers go on where those of the results end.
  enum class End : std::uint8_t {
    kClosedBeforeHello = ktls::kHandshakeResults,
    kDone,  // both sides closed cleanly
    kClientClosed,
    kBackendClosed,
    kClientTruncated,  // FIN without close_notify
    kClientReset,
    kBackendReset,
    // Of a backend that speaks TLS.
    kBackendTruncated,  // FIN without close_notify
    kBackendAlert,      // a fatal one of its own
    kBackendRecordError,
    kBackendKeyupdateFlood,
    kBackendKeyupdateUnsupported,
    kIdleTimeout,
    kLifetime,
    kHalfCloseTimeout,
    kRecordError,
    kKeyupdateFlood,
    kKeyupdateUnsupported,
    // What let the client in holds no longer; kNotAuthorized is one of these, too.
    kExpired,
    kRevoked,
    kUntrusted,
    kRouteGone,
    // Of its endpoint.
    kBackendDown,
    kEndpointRemoved,
    kProxyHeaderInvalid,  // before a handshake
    kInternalError,
  };
  // CloseReason::kNoRoute, CloseReason::kDone, ...
  using enum ktls::HandshakeResult;
  using enum End;

  /// Aborts for kSuccess, which ends no connection. kDrain is also the reason of an established
  /// connection that was drained.
  constexpr CloseReason(ktls::HandshakeResult result)  // NOLINT: implicit
      : index_(static_cast<std::uint8_t>(result)) {
    if (result == ktls::HandshakeResult::kSuccess) {
      std::fputs("close reason: a successful handshake ends no connection\n", stderr);
      std::abort();
    }
  }
  constexpr CloseReason(End end) : index_(static_cast<std::uint8_t>(end)) {}  // NOLINT: implicit

  /// Into kCloseReasonWords.
  [[nodiscard]] constexpr std::size_t index() const { return index_; }

  /// What it was made of: exactly one of the two.
  [[nodiscard]] constexpr std::optional<ktls::HandshakeResult> result() const {
    if (index_ >= ktls::kHandshakeResults) return std::nullopt;
    return static_cast<ktls::HandshakeResult>(index_);
  }
  [[nodiscard]] constexpr std::optional<End> end() const {
    if (index_ < ktls::kHandshakeResults) return std::nullopt;
    return static_cast<End>(index_);
  }

  bool operator==(const CloseReason&) const = default;

 private:
  std::uint8_t index_;
};

/// The words by CloseReason::index(): the label values of connections_closed_total{reason}. Those
/// of ktls::kHandshakeResultWords come first, also `success`, which is no reason: so a result has
/// the same index in both.
inline constexpr std::size_t kCloseReasonCount =
    CloseReason(CloseReason::kInternalError).index() + 1;
extern const std::array<std::string_view, kCloseReasonCount> kCloseReasonWords;

[[nodiscard]] std::string_view to_string(CloseReason reason);

/// Of the same word.
[[nodiscard]] CloseReason reason_of(LiveCause cause);

/// The alert by which the client learns of it once records have begun, where its end takes one.
[[nodiscard]] std::optional<ktls::AlertDescription> alert_of_live(CloseReason reason);

/// Whether the backend broke the rules of TLS, and has an alert of ours for it.
[[nodiscard]] bool is_offence_of_backend(CloseReason reason);

/// Whether a connection that relays may end with close_notify at a quiet moment for this reason.
[[nodiscard]] bool prefers_quiet_moment(CloseReason reason);

/// The result of a handshake that ended for this reason: unknown_failure where the reason is no
/// result (internal_error, ...).
[[nodiscard]] constexpr ktls::HandshakeResult handshake_result(CloseReason reason) {
  return reason.result().value_or(ktls::HandshakeResult::kUnknownFailure);
}

}  // namespace sallyport::gateway
