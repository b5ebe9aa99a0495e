#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "gateway/policy/policy.h"

namespace sallyport::ktls {
struct PeerIdentity;
}

namespace sallyport::gateway {

/// The rule of a route that a peer is let in by: the index of a pattern of Route::allow, or
/// kAnyVerified.
struct Rule {
  static constexpr std::uint32_t kAnyVerified = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t index = kAnyVerified;
  bool operator==(const Rule&) const = default;
};

/// The rule by which a peer whose certificate was verified may use `route`: the first of its
/// patterns that matches, or kAnyVerified if the route admits any verified certificate (also one
/// without a usable identity). Nothing: the peer may not use it; deny by default. Any thread.
std::optional<Rule> authorize(const Route& route, const ktls::PeerIdentity& peer);

/// Why no rule of `route` lets `peer` in: the text names the rule that comes nearest, the first one
/// of the greatest IdentityPattern::nearness(), if there is one that is near at all.
std::string why_not_authorized(const Route& route, const ktls::PeerIdentity& peer);

}  // namespace sallyport::gateway
