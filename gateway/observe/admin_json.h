// What the admin endpoints show, as JSON.
#pragma once

#include <string>
#include <vector>

#include "gateway/backends/endpoints.h"
#include "gateway/connection/live_connection.h"
#include "gateway/policy/policy.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// /connections: one object each.
[[nodiscard]] std::string connections_json(const std::vector<ConnectionFacts>& connections);
/// /routes: each route of the policy with its rules and endpoints.
[[nodiscard]] std::string routes_json(const Policy& policy, const EndpointSet& endpoints);
/// /credentials: certificates, trust and CRLs in force; facts only, no key material.
[[nodiscard]] std::string credentials_json(const ktls::Credentials& credentials);

}  // namespace sallyport::gateway
