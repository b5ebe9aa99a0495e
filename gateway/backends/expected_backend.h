// Who a backend must prove to be, and by which name it is asked for.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "gateway/backends/discovery.h"
#include "gateway/policy/backend_tls.h"
#include "gateway/policy/pattern.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {

/// What `verify` of a route says of one endpoint. A value, usable on any thread.
class ExpectedBackend {
 public:
  /// Of an endpoint whose target the discovery file writes so. The error is one sentence: there is
  /// nobody whom it could prove to be, or `rule` does not allow the one that its labels say.
  static std::expected<ExpectedBackend, std::string> of(const BackendTls& rule,
                                                        const GroupLabels& labels,
                                                        const std::string& target);

  /// Why a server with this verified identity is not the one; none: it is.
  [[nodiscard]] std::optional<std::string> refuse(const ktls::PeerIdentity& server) const;

  /// Equal for those that take the same servers for the right ones.
  [[nodiscard]] ktls::Sha256 digest() const;

  /// For SNI; may be an IP literal, or empty: then none is sent.
  [[nodiscard]] const std::string& server_name() const { return server_name_; }

 private:
  ExpectedBackend() = default;

  std::vector<IdentityPattern> one_of_;    // the route's; empty: it leaves that to the endpoint
  std::optional<IdentityPattern> itself_;  // of the endpoint; one of the two is there
  std::string server_name_;
};

}  // namespace sallyport::gateway
