#include "gateway/policy/authorize.h"

#include <algorithm>

#include "ktls/trust/identity.h"

namespace sallyport::gateway {

std::optional<Rule> authorize(const Route& route, const ktls::PeerIdentity& peer) {
  if (route.allow_any_verified) return Rule{};
  const auto rule = std::ranges::find_if(
      route.allow, [&](const IdentityPattern& pattern) { return pattern.matches(peer); });
  if (rule == route.allow.end()) return std::nullopt;
  return Rule{static_cast<std::uint32_t>(rule - route.allow.begin())};
}

}  // namespace sallyport::gateway
