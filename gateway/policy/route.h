#pragma once

#include <expected>
#include <span>
#include <string_view>

#include "gateway/policy/policy.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

struct Choice {
  const Route* route;  ///< never nullptr; lives as long as the Policy
  std::string_view
      alpn;  ///< protocol to select, points into `route` or is a constant; empty = none
};

/// Which route a ClientHello gets. `sni` as received (empty = none sent; a dot at its end does not
/// count, and an IP address counts as none, RFC 6066 3); `alpn_offers` as received. An exact name
/// beats `*.name` beats the route without sni, and only the best of these levels is looked at (as
/// in Envoy's filter chains, there is no way back from a name that matched). Within it, the first
/// route of the file whose `alpn` shares a protocol with the offer wins, with the first of its list
/// that was offered; then, for an empty offer, the route that takes those; then the route without
/// `alpn`. Errors: kNoRoute, kNoApplicationProtocol. Allocates nothing; any thread.
std::expected<Choice, ktls::HandshakeResult> choose(const Policy& policy, std::string_view sni,
                                                    std::span<const std::string_view> alpn_offers);

}  // namespace sallyport::gateway
