#include "gateway/run/admin_handlers.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/observe/admin_json.h"
#include "gateway/observe/discovery_json.h"
#include "gateway/run/credentials_review.h"
#include "gateway/run/peer_inventory.h"
#include "gateway/run/versions.h"
#include "ktls/base/hex.h"

namespace sallyport::gateway {

namespace {

// Whether a client of any route would find an endpoint. Routes of the discovery file that the
// policy lacks are unreachable.
bool any_usable(const Snapshot& snapshot) {
  return std::ranges::any_of(snapshot.policy->routes(), [&](const Route& route) {
    const RouteEndpoints* endpoints = snapshot.endpoints->find(route.name);
    return endpoints != nullptr && endpoints->usable() > 0;
  });
}

}  // namespace

Readiness readiness(const Snapshot& snapshot, bool draining,
                    std::chrono::system_clock::time_point now) {
  if (draining) return {.ready = false, .reason = "draining"};
  // In seconds: the clock's nanoseconds do not reach the year 9999.
  if (snapshot.credentials->own_not_after() <= std::chrono::floor<std::chrono::seconds>(now)) {
    return {.ready = false, .reason = "a certificate of the gateway has expired"};
  }
  const auto findings =
      review_credentials(*snapshot.credentials, std::chrono::floor<std::chrono::seconds>(now));
  if (std::string why = join(findings, Finding::Effect::kRefusesAll); !why.empty()) {
    return {.ready = false, .reason = std::move(why)};
  }
  if (!any_usable(snapshot)) return {.ready = false, .reason = "no usable endpoint"};
  return {.ready = true, .reason = join(findings, Finding::Effect::kRefusesSome)};
}

namespace {

void count_missing_lines(metrics::Registry& registry, const Logs& logs) {
  const DroppedLines operational = logs.operational.dropped();
  const DroppedLines connections = logs.connections.dropped();
  std::vector<std::pair<std::string_view, std::uint64_t>> lines;
  lines.reserve(kDropCauseWords.size());
  for (std::size_t i = 0; i < kDropCauseWords.size(); ++i) {
    lines.emplace_back(kDropCauseWords[i], operational[i] + connections[i]);
  }
  registry.set_dropped_lines(std::move(lines));
  std::vector<std::pair<std::string_view, std::uint64_t>> left_out;
  for (const LeftOut why : {LeftOut::kLogProbes, LeftOut::kLogConnections, LeftOut::kLogSample})
    left_out.emplace_back(to_string(why), logs.connections.left_out(why));
  left_out.emplace_back(to_string(LeftOut::kRepeated), lines_held_back());
  registry.set_left_out_lines(std::move(left_out));
}

// By which a reader of several pages sees that another process answers.
std::string draw_instance() {
  std::random_device device;
  InstanceId instance;
  std::ranges::generate(instance, [&] { return static_cast<std::uint8_t>(device()); });
  return ktls::encode_hex(instance);
}

}  // namespace

AdminHandlers make_admin_handlers(const Publisher& publisher, ShardSet& shards,
                                  metrics::Registry& registry, const Drain& drain,
                                  const Logs& logs) {
  const auto ready = [&] {
    const auto now = std::chrono::system_clock::now();
    Readiness result = readiness(*publisher.snapshot(), drain.begun(), now);
    const std::string old_endpoints = state_in_use(*publisher.discovery(), now);
    if (result.ready && !old_endpoints.empty())
      result.reason += (result.reason.empty() ? "" : "; ") + old_endpoints;
    return result;
  };
  return {
      .metrics =
          [&, ready, logs] {
            shards.count_busy_time();
            count_missing_lines(registry, logs);
            registry.set_ready(ready().ready);
            publisher.show_backends();
            return registry.scrape();
          },
      .readiness = ready,
      .started = [&] { return shards.listening(); },
      .connection_count = [&] { return registry.open_connections(); },
      .connections = [&](ConnectionCursor from, std::size_t most,
                         TakeSlice take) { shards.describe(from, most, std::move(take)); },
      .in_force =
          [&, instance = draw_instance()] {
            const auto snapshot = publisher.snapshot();
            return InForce{.program = versions().sallyport,
                           .instance = instance,
                           .generation = snapshot->generation,
                           .shards = shards.size(),
                           .known_issuers = [snapshot](const PeerFacts& peer) {
                             return snapshot->known_issuers(peer.route, peer.trust);
                           }};
          },
      .peers = [&](PeerCursor from, std::size_t most, WhichPeers which,
                   TakePeers take) { shards.describe_peers(from, most, which, std::move(take)); },
      .refusals_json = [logs] { return logs.refusals.to_json(); },
      .discovery_json =
          [&] { return discovery_json(*publisher.discovery(), std::chrono::system_clock::now()); },
      .routes_json =
          [&] {
            const auto [snapshot, gone] = publisher.published();
            return routes_json(*snapshot->policy, *snapshot->endpoints, gone);
          },
      .credentials_json =
          [&] {
            const auto snapshot = publisher.snapshot();
            return credentials_json(snapshot->all_credentials(),
                                    {.generation = snapshot->generation,
                                     .since = snapshot->credentials_since,
                                     .refused = publisher.refused()});
          }};
}

}  // namespace sallyport::gateway
