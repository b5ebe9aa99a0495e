// The configuration that connections are served by.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "gateway/backends/endpoints.h"
#include "gateway/policy/policy.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// Credentials, policy and endpoints that belong together: immutable, built and checked as a whole
/// by the control thread, shared by all shards. A connection keeps the credentials and the policy
/// that its shard has when OpenSSL gets the ClientHello; the endpoints are those at the time of
/// dialling.
struct Snapshot {
  std::uint64_t generation = 0;
  std::chrono::system_clock::time_point credentials_since{};  ///< when these credentials took over
  std::shared_ptr<const ktls::Credentials> credentials;
  Policy::Pointer policy;
  EndpointSet::Pointer endpoints;

  /// Under which clients of the route are judged.
  [[nodiscard]] const std::shared_ptr<const ktls::Credentials>& credentials_of(
      [[maybe_unused]] const Route& route) const {
    return credentials;
  }
};

}  // namespace sallyport::gateway
