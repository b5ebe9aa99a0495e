// What the admin endpoints show, as JSON.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "gateway/backends/endpoints.h"
#include "gateway/backends/gone_endpoints.h"
#include "gateway/connection/connection_facts.h"
#include "gateway/observe/json_lines.h"
#include "gateway/policy/policy.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// /connections, added to as they come: `[{...}, ...]`, one a line.
class ConnectionList {
 public:
  /// With a total: `{"total": N, "connections": [...]}`.
  explicit ConnectionList(std::optional<std::uint64_t> total);
  void add(const ConnectionFacts& connection);
  /// The whole text. Once.
  [[nodiscard]] std::string finish();

 private:
  bool with_total_;
  JsonLines lines_;
};

/// /routes: each route of the policy with its rules, its endpoints, and those of `gone` that have
/// connections.
[[nodiscard]] std::string routes_json(const Policy& policy, const EndpointSet& endpoints,
                                      std::span<const GoneEndpoint> gone);

/// What is in force, and what is not.
struct CredentialsStatus {
  std::uint64_t generation = 0;
  std::chrono::system_clock::time_point since;  ///< of these credentials
  std::optional<std::string> refused;           ///< why newer files are not in force
};

/// /credentials: certificates, trust and CRLs in force; facts only, no key material. Those of the
/// flags come first, and their trust has the digest.
[[nodiscard]] std::string credentials_json(
    std::span<const std::shared_ptr<const ktls::Credentials>> all, const CredentialsStatus& status);

}  // namespace sallyport::gateway
