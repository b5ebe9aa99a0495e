#include "gateway/policy/authorize.h"

#include <algorithm>

#include "ktls/trust/identity.h"

namespace sallyport::gateway {

bool authorize(const Route& route, const ktls::PeerIdentity& peer) {
  if (route.allow_any_verified) return true;
  return std::ranges::any_of(route.allow,
                             [&](const IdentityPattern& pattern) { return pattern.matches(peer); });
}

}  // namespace sallyport::gateway
