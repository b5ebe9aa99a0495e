// The configuration that connections are served by.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/backends/endpoints.h"
#include "gateway/connection/known_issuer.h"
#include "gateway/policy/policy.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// Credentials, policy and endpoints that belong together: immutable, built and checked as a whole
/// by the control thread, shared by all shards. A connection keeps the credentials and the policy
/// that its shard has when OpenSSL gets the ClientHello; the endpoints are those at the time of
/// dialling.
struct Snapshot {
  using CredentialsPointer = std::shared_ptr<const ktls::Credentials>;

  std::uint64_t generation = 0;
  std::chrono::system_clock::time_point credentials_since{};  ///< when these credentials took over
  CredentialsPointer credentials;                             ///< of the flags
  std::vector<CredentialsPointer> named;  ///< of policy->files(), from its second on
  Policy::Pointer policy;
  EndpointSet::Pointer endpoints;

  /// Under which clients of the route, one of `policy`, are judged.
  [[nodiscard]] const CredentialsPointer& credentials_of(const Route& route) const {
    return credentials_at(route.files);
  }
  /// Under which the backends of a route with this rule are judged.
  [[nodiscard]] const CredentialsPointer& credentials_of(const BackendTls& rule) const {
    return credentials_at(rule.files);
  }
  /// Null is a route that is gone: its peers are judged by the first credentials that vouch for
  /// them, those of the flags if none do.
  [[nodiscard]] const CredentialsPointer& credentials_of(const Route* route,
                                                         const ktls::PeerTrust& peer) const;
  /// The flags' first.
  [[nodiscard]] std::vector<CredentialsPointer> all_credentials() const;

  /// The issuers of the peer's chain whose keys those credentials know that judge it on the route
  /// of this name.
  [[nodiscard]] std::vector<KnownIssuer> known_issuers(std::string_view route,
                                                       const ktls::PeerTrust& peer) const;
  /// Makes it known to the credentials with the trust that has seen it, as a reload does to those
  /// that come after them.
  void learn_issuer(const KnownIssuer& known) const;

 private:
  [[nodiscard]] const CredentialsPointer& credentials_at(std::size_t files) const {
    return files == 0 ? credentials : named[files - 1];
  }
  // Where in policy->files() the trust is by which it is judged.
  [[nodiscard]] std::size_t files_of(const Route* route, const ktls::PeerTrust& peer) const;
  [[nodiscard]] std::optional<std::string> trust_name(std::size_t files) const;
};

}  // namespace sallyport::gateway
