#pragma once

#include "gateway/policy/policy.h"

namespace sallyport::ktls {
struct PeerIdentity;
}

namespace sallyport::gateway {

// Whether a peer whose certificate was verified may use `route`: one of its patterns matches, or
// the route admits any verified certificate (also one without a usable identity). Deny by default.
bool authorize(const Route& route, const ktls::PeerIdentity& peer);

}  // namespace sallyport::gateway
