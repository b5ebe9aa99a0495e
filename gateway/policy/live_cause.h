// Causes for which a live connection ends: what let its client in holds no longer, or what its
// backend was taken for, or its endpoint has gone.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sallyport::gateway {

/// Of several, the first one counts: those that tell the client by an alert come first, and those
/// that may be long in coming last.
enum class LiveCause : std::uint8_t {
  kRevoked,        ///< a certificate of the chain
  kUntrusted,      ///< the anchor
  kNotAuthorized,  ///< no rule of the route matches any more
  kExpired,        ///< a certificate below the anchor
  kRouteGone,      ///< the policy has no route of this name
  // Of the backend; --keep-live does not know them.
  kBackendRevoked,      ///< a certificate of its chain
  kBackendUntrusted,    ///< its anchor
  kBackendNotVerified,  ///< it is not, or no longer, the one that the route asks for
  kBackendExpired,      ///< a certificate below its anchor
  // Of its endpoint, likewise.
  kBackendDown,      ///< by its checks, and the route ends connections then
  kEndpointRemoved,  ///< it drains or is gone, and the route's time for that is over
};

/// By LiveCause: close reason.
inline constexpr std::array<std::string_view, 11> kLiveCauseWords{
    "revoked",         "untrusted",       "not_authorized",    "expired",
    "route_gone",      "backend_revoked", "backend_untrusted", "backend_not_verified",
    "backend_expired", "backend_down",    "endpoint_removed"};

/// Those of the client, the first ones: metric label, value of --keep-live.
inline constexpr std::span<const std::string_view> kKeepLiveWords =
    std::span(kLiveCauseWords).first<5>();

/// A set of causes, by LiveCause.
using LiveCauses = std::bitset<kLiveCauseWords.size()>;

[[nodiscard]] constexpr std::string_view to_string(LiveCause cause) {
  return kLiveCauseWords[static_cast<std::size_t>(cause)];
}

[[nodiscard]] inline bool contains(const LiveCauses& causes, LiveCause cause) {
  return causes.test(static_cast<std::size_t>(cause));
}

/// The one that counts.
[[nodiscard]] inline std::optional<LiveCause> first_of(const LiveCauses& causes) {
  for (std::size_t i = 0; i < causes.size(); ++i)
    if (causes.test(i)) return static_cast<LiveCause>(i);
  return std::nullopt;
}

}  // namespace sallyport::gateway
