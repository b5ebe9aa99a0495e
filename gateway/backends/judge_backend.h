// The judgement of a backend: by its trust, its route's rule, its labels and a generation of the
// configuration.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "gateway/backends/discovery.h"
#include "gateway/policy/backend_tls.h"
#include "gateway/policy/live_cause.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/judgement.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {

struct BackendVerdict {
  ktls::TrustVerdict trust;
  std::optional<std::string> refused;  ///< why it is not the one that is wanted

  /// kSuccess, or for what a handshake with it fails: kNotAuthorized where it is another.
  [[nodiscard]] ktls::HandshakeResult result() const noexcept;
  /// All causes for which a connection to it ends. A CRL that lapsed or is missing is none.
  [[nodiscard]] LiveCauses causes() const noexcept;
};

/// Judges a server that has proven who it is, behind an endpoint of this target with these labels,
/// under the credentials of `rule`: when it is connected to, and as often as anything changes
/// afterwards. Pure; any thread; some microseconds.
[[nodiscard]] BackendVerdict judge_backend(const ktls::PeerTrust& server, const BackendTls& rule,
                                           const GroupLabels& labels, const std::string& target,
                                           const ktls::Credentials& credentials,
                                           std::chrono::sys_seconds now);

}  // namespace sallyport::gateway
