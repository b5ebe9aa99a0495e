#include "gateway/policy/judge.h"

#include <cstddef>
#include <string>
#include <utility>

namespace sallyport::gateway {

using ktls::HandshakeResult;

HandshakeResult Verdict::result() const noexcept {
  if (!routed) return HandshakeResult::kNoRoute;
  if (!trust.passed()) return trust.result();
  return rule ? HandshakeResult::kSuccess : HandshakeResult::kNotAuthorized;
}

LiveCauses Verdict::causes() const noexcept {
  LiveCauses causes;
  const auto add = [&causes](LiveCause cause, bool holds) {
    causes.set(static_cast<std::size_t>(cause), holds);
  };
  add(LiveCause::kRevoked, trust.is_revoked());
  add(LiveCause::kUntrusted, trust.is_untrusted());
  add(LiveCause::kNotAuthorized, routed && !rule);
  add(LiveCause::kExpired, trust.has_expired());
  add(LiveCause::kRouteGone, !routed);
  return causes;
}

Verdict judge(const ktls::PeerTrust& peer, const Route* route, const ktls::Credentials& credentials,
              std::chrono::sys_seconds now, ktls::JudgementSteps* steps) {
  Verdict verdict{.routed = route != nullptr,
                  .trust = credentials.judge(peer, now, steps),
                  .rule = std::nullopt};
  if (route == nullptr) return verdict;
  verdict.rule = authorize(*route, peer.identity);
  if (steps != nullptr) {
    std::string finding;
    if (!verdict.rule) {
      finding = why_not_authorized(*route, peer.identity);
    } else if (verdict.rule->index == Rule::kAnyVerified) {
      finding = "route '" + route->name + "' allows any verified certificate";
    } else {
      finding = "route '" + route->name + "' allows " + route->allow[verdict.rule->index].text();
    }
    steps->push_back({"rule", verdict.rule.has_value(), std::move(finding)});
  }
  return verdict;
}

}  // namespace sallyport::gateway
