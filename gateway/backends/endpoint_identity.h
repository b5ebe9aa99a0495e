// Whether the endpoints of a discovery file can prove who they are, where their route asks for it.
#pragma once

#include "gateway/backends/discovery.h"
#include "gateway/policy/policy.h"

namespace sallyport::gateway {

/// For the routes with `backend-tls`. `"verify": "endpoint"`: a route is refused of which a target
/// has no name to be verified by (an address or a unix socket without tls_id and tls_name). With
/// patterns: a target whose tls_id none of them matches is left out, with a warning.
void judge_identities(Discovery& discovery, const Policy& policy);

}  // namespace sallyport::gateway
