#include "gateway/connection/judge_live.h"

#include <chrono>
#include <cstddef>
#include <memory>

namespace sallyport::gateway {
namespace {

// As the discovery file has them now; of an endpoint that is gone, as it had them.
const GroupLabels& labels_of_backend(const LiveConnection& connection) {
  const Endpoint& dialled = *connection.backend();
  const auto* const endpoints =
      connection.shard().snapshot->endpoints->find(connection.route().name);
  const Endpoint* const now = endpoints != nullptr ? endpoints->find(dialled.id) : nullptr;
  return now != nullptr ? *now->labels : *dialled.labels;
}

}  // namespace

Verdict judge_now(LiveConnection& connection, ktls::JudgementSteps* steps) {
  const ShardState& shard = connection.shard();
  const Snapshot& snapshot = *shard.snapshot;
  const Route* const route = snapshot.policy->find(connection.route().name);
  // An application of this machine was let in by its socket alone.
  if (connection.is_egress()) {
    const bool routed = route != nullptr && route->backend_tls;
    if (routed) connection.renew_grant(std::shared_ptr<const Route>(snapshot.policy, route), {});
    return {.routed = routed, .trust = {}, .rule = Rule{}};
  }
  const auto now = std::chrono::floor<std::chrono::seconds>(shard.now());
  const auto& credentials = snapshot.credentials_of(route, connection.peer());
  const Verdict verdict = judge(connection.peer(), route, *credentials, now, steps);
  if (verdict.rule)
    connection.renew_grant(std::shared_ptr<const Route>(snapshot.policy, route), *verdict.rule);
  return verdict;
}

BackendVerdict judge_backend_now(const LiveConnection& connection) {
  if (connection.backend() == nullptr) return {};
  const Snapshot& snapshot = *connection.shard().snapshot;
  const Route* const route = snapshot.policy->find(connection.route().name);
  const ktls::PeerTrust* const server = connection.backend_peer();
  const auto now = std::chrono::floor<std::chrono::seconds>(connection.shard().now());
  if (route == nullptr) {
    if (server == nullptr) return {};
    return {.trust = snapshot.credentials_of(nullptr, *server)->judge(*server, now), .refused = {}};
  }
  if (!route->backend_tls) return {};
  if (server == nullptr) return {.trust = {}, .refused = "was connected to in plaintext"};
  return judge_backend(*server, *route->backend_tls, labels_of_backend(connection),
                       connection.backend()->target, *snapshot.credentials_of(*route->backend_tls),
                       now);
}

LiveCauses causes_of_endpoint(const LiveConnection& connection) {
  LiveCauses causes;
  if (connection.backend() == nullptr) return causes;
  const EndpointLife& life = *connection.backend()->life;
  const EndpointRules& rules = connection.route().endpoint_rules;
  causes.set(static_cast<std::size_t>(LiveCause::kBackendDown),
             rules.end_when_down && life.went_down_after(connection.accepted_at()));
  causes.set(
      static_cast<std::size_t>(LiveCause::kEndpointRemoved),
      rules.removal_timeout.count() > 0 && life.leaving_since() != iouring::TimePoint::max());
  return causes;
}

Judged judge_live(LiveConnection& connection) {
  const LiveCauses keep = connection.shard().ends.keep;
  const LiveCauses of_client = judge_now(connection).causes();
  const LiveCauses of_backend =
      judge_backend_now(connection).causes() | causes_of_endpoint(connection);
  return {.ends = first_of((of_client & ~keep) | of_backend), .kept = first_of(of_client & keep)};
}

}  // namespace sallyport::gateway
