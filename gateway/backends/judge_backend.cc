#include "gateway/backends/judge_backend.h"

#include <cstddef>

#include "gateway/backends/expected_backend.h"

namespace sallyport::gateway {

using ktls::HandshakeResult;

HandshakeResult BackendVerdict::result() const noexcept {
  if (!trust.passed()) return trust.result();
  return refused ? HandshakeResult::kNotAuthorized : HandshakeResult::kSuccess;
}

LiveCauses BackendVerdict::causes() const noexcept {
  LiveCauses causes;
  const auto add = [&causes](LiveCause cause, bool holds) {
    causes.set(static_cast<std::size_t>(cause), holds);
  };
  add(LiveCause::kBackendRevoked, trust.is_revoked());
  add(LiveCause::kBackendUntrusted, trust.is_untrusted());
  add(LiveCause::kBackendNotVerified, refused.has_value());
  add(LiveCause::kBackendExpired, trust.has_expired());
  return causes;
}

BackendVerdict judge_backend(const ktls::PeerTrust& server, const BackendTls& rule,
                             const GroupLabels& labels, const std::string& target,
                             const ktls::Credentials& credentials, std::chrono::sys_seconds now) {
  const auto expected = ExpectedBackend::of(rule, labels, target);
  return {.trust = credentials.judge(server, now),
          .refused = expected ? expected->refuse(server.identity) : expected.error()};
}

}  // namespace sallyport::gateway
