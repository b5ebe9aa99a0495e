// The judgement of a client: by its trust, its route and a generation of the configuration.
#pragma once

#include <chrono>
#include <optional>

#include "gateway/policy/authorize.h"
#include "gateway/policy/live_cause.h"
#include "gateway/policy/policy.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/judgement.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {

struct Verdict {
  bool routed = true;  ///< false: there is no such route
  ktls::TrustVerdict trust;
  std::optional<Rule> rule;  ///< by which it may use the route; none: it may not

  /// kSuccess, or for what a handshake of this client is refused.
  [[nodiscard]] ktls::HandshakeResult result() const noexcept;
  /// All causes for which a connection that lives ends. A CRL that lapsed or is missing is none.
  [[nodiscard]] LiveCauses causes() const noexcept;
};

/// Judges an authenticated client, under the credentials of its route: at its handshake, resumed or
/// not, and as often as the configuration changes afterwards. `route` may be null: gone. Adds its
/// steps to `steps`, if given. Pure; any thread; some microseconds.
[[nodiscard]] Verdict judge(const ktls::PeerTrust& peer, const Route* route,
                            const ktls::Credentials& credentials, std::chrono::sys_seconds now,
                            ktls::JudgementSteps* steps = nullptr);

}  // namespace sallyport::gateway
