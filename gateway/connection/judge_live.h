// What a live connection is worth now: its client, its backend and its endpoint.
#pragma once

#include <optional>

#include "gateway/backends/judge_backend.h"
#include "gateway/connection/live_connection.h"
#include "gateway/policy/judge.h"
#include "gateway/policy/live_cause.h"
#include "ktls/trust/judgement_step.h"

namespace sallyport::gateway {

/// Judges an authenticated client by the generation and the time that are now. Where it passes, its
/// grant is of that generation from here on, so that earlier ones are freed. Adds to `steps`, if
/// given.
[[nodiscard]] Verdict judge_now(LiveConnection& connection, ktls::JudgementSteps* steps = nullptr);

/// Likewise its backend. Where nothing is asked of that, the verdict is good. Where the route is
/// gone there is no rule any more, but the backend's chain may be revoked.
[[nodiscard]] BackendVerdict judge_backend_now(const LiveConnection& connection);

/// What its endpoint gives cause for: it went down, or leaves.
[[nodiscard]] LiveCauses causes_of_endpoint(const LiveConnection& connection);

/// The first cause that ends it, and of its client's the first that does not, by --keep-live.
struct Judged {
  std::optional<LiveCause> ends;
  std::optional<LiveCause> kept;
};

/// By all of these.
[[nodiscard]] Judged judge_live(LiveConnection& connection);

}  // namespace sallyport::gateway
