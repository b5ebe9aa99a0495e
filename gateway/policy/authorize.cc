#include "gateway/policy/authorize.h"

#include <algorithm>
#include <cstddef>

#include "ktls/trust/identity.h"

namespace sallyport::gateway {

std::optional<Rule> authorize(const Route& route, const ktls::PeerIdentity& peer) {
  if (route.allow_any_verified) return Rule{};
  const auto rule = std::ranges::find_if(
      route.allow, [&](const IdentityPattern& pattern) { return pattern.matches(peer); });
  if (rule == route.allow.end()) return std::nullopt;
  return Rule{static_cast<std::uint32_t>(rule - route.allow.begin())};
}

std::string why_not_authorized(const Route& route, const ktls::PeerIdentity& peer) {
  std::string text = "no rule of route '" + route.name + "' matches";
  const IdentityPattern* nearest = nullptr;
  std::size_t most = 0;
  for (const IdentityPattern& pattern : route.allow) {
    const std::size_t near = pattern.nearness(peer);
    if (near <= most) continue;
    most = near;
    nearest = &pattern;
  }
  if (nearest != nullptr) text += "; the nearest is " + nearest->text();
  return text;
}

}  // namespace sallyport::gateway
