#include "gateway/run/admin_handlers.h"

#include "gateway/observe/admin_json.h"

namespace sallyport::gateway {

Readiness readiness(const Snapshot& snapshot, bool draining,
                    std::chrono::system_clock::time_point now) {
  if (draining) return {.ready = false, .reason = "draining"};
  // In seconds: the clock's nanoseconds do not reach the year 9999.
  if (snapshot.credentials->own_not_after() <= std::chrono::floor<std::chrono::seconds>(now)) {
    return {.ready = false, .reason = "a certificate of the gateway has expired"};
  }
  if (snapshot.endpoints->usable() == 0) return {.ready = false, .reason = "no usable endpoint"};
  return {.ready = true, .reason = {}};
}

AdminHandlers make_admin_handlers(const Publisher& publisher, ShardSet& shards,
                                  metrics::Registry& registry, const Drain& drain) {
  return {.metrics =
              [&] {
                shards.count_busy_time();
                return registry.scrape();
              },
          .readiness =
              [&] {
                if (!shards.listening()) return Readiness{.ready = false, .reason = "starting"};
                return readiness(*publisher.snapshot(), drain.begun(),
                                 std::chrono::system_clock::now());
              },
          .connections_json =
              [&](unsigned limit) { return connections_json(shards.connections(limit)); },
          .routes_json =
              [&] {
                const auto now = publisher.snapshot();
                return routes_json(*now->policy, *now->endpoints);
              },
          .credentials_json = [&] { return credentials_json(*publisher.snapshot()->credentials); }};
}

}  // namespace sallyport::gateway
