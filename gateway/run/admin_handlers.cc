#include "gateway/run/admin_handlers.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/observe/admin_json.h"
#include "gateway/run/snapshot_metrics.h"

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

namespace {

void count_dropped_lines(metrics::Registry& registry, const Logs& logs) {
  const DroppedLines operational = logs.operational.dropped();
  const DroppedLines connections = logs.connections.dropped();
  std::vector<std::pair<std::string_view, std::uint64_t>> lines;
  lines.reserve(kDropCauseWords.size());
  for (std::size_t i = 0; i < kDropCauseWords.size(); ++i) {
    lines.emplace_back(kDropCauseWords[i], operational[i] + connections[i]);
  }
  registry.set_dropped_lines(std::move(lines));
}

}  // namespace

AdminHandlers make_admin_handlers(const Publisher& publisher, ShardSet& shards,
                                  metrics::Registry& registry, const Drain& drain,
                                  const Logs& logs) {
  return {.metrics =
              [&, logs] {
                shards.count_busy_time();
                count_dropped_lines(registry, logs);
                set_backend_metrics(registry, *publisher.snapshot()->endpoints);
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
