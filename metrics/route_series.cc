#include "metrics/route_series.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace sallyport::metrics {
namespace {

void subtract(HistogramSample& from, const HistogramSample& what) {
  for (std::size_t i = 0; i < from.counts.size(); ++i) from.counts[i] -= what.counts[i];
  from.sum_seconds -= what.sum_seconds;
}

bool has_counted(const RouteSample& route) {
  const auto any = [](const auto& counts) {
    return std::ranges::any_of(counts, [](std::uint64_t count) { return count != 0; });
  };
  return route.open != 0 || any(route.closed) || any(route.received_bytes) ||
         any(route.sent_bytes) || route.connect.count() != 0 || route.failovers != 0 ||
         route.warm_hits != 0 || route.warm_misses != 0 || any(route.limits_reached) ||
         any(route.backend_tls);
}

}  // namespace

void RouteSeries::configure(std::set<std::string> routes, TimePoint now) {
  for (const std::string& route : configured_) {
    if (!routes.contains(route)) removed_.emplace(route, now);
  }
  for (const std::string& route : routes) removed_.erase(route);
  configured_ = std::move(routes);
}

void RouteSeries::apply(std::vector<ShardSample>& samples, TimePoint now) {
  forget_removed(samples, now);
  for (ShardSample& shard : samples) {
    for (ListenerSample& listener : shard.listeners) take_off_forgotten(shard.shard, listener);
  }
  if (samples.empty()) return;
  for (ListenerSample& listener : samples.front().listeners) add_configured(listener);
}

void RouteSeries::forget_removed(const std::vector<ShardSample>& samples, TimePoint now) {
  std::set<std::string> due;
  for (const auto& [route, since] : removed_) {
    if (now - since >= kKept) due.insert(route);
  }
  const auto for_each_route = [&](const auto& function) {
    for (const ShardSample& shard : samples) {
      for (const ListenerSample& listener : shard.listeners) {
        for (const RouteSample& route : listener.routes) function(shard, listener, route);
      }
    }
  };
  for_each_route([&](const ShardSample&, const ListenerSample&, const RouteSample& route) {
    if (route.open != 0) due.erase(route.route);
  });
  for_each_route(
      [&](const ShardSample& shard, const ListenerSample& listener, const RouteSample& route) {
        if (!due.contains(route.route)) return;
        forgotten_.insert_or_assign(Key{shard.shard, listener.listener, route.route}, route);
      });
  for (const std::string& route : due) removed_.erase(route);
}

void RouteSeries::take_off_forgotten(unsigned shard, ListenerSample& listener) const {
  RouteSample& unrouted = listener.routes.front();
  for (RouteSample& route : listener.routes) {
    const auto found = forgotten_.find(Key{shard, listener.listener, route.route});
    if (found == forgotten_.end()) continue;
    const RouteSample& before = found->second;
    for (std::size_t i = 0; i < route.closed.size(); ++i) {
      route.closed[i] -= before.closed[i];
      unrouted.closed[i] += before.closed[i];
    }
    for (const std::size_t leg : {0U, 1U}) {
      route.received_bytes[leg] -= before.received_bytes[leg];
      route.sent_bytes[leg] -= before.sent_bytes[leg];
    }
    subtract(route.connect, before.connect);
    route.failovers -= before.failovers;
    route.warm_hits -= before.warm_hits;
    route.warm_misses -= before.warm_misses;
    for (std::size_t limit = 0; limit < kLimitWords.size(); ++limit)
      route.limits_reached[limit] -= before.limits_reached[limit];
    for (std::size_t count = 0; count < route.backend_tls.size(); ++count)
      route.backend_tls[count] -= before.backend_tls[count];
    subtract(route.backend_tls_took, before.backend_tls_took);
  }
  std::erase_if(listener.routes, [&](const RouteSample& route) {
    return forgotten_.contains(Key{shard, listener.listener, route.route}) && !has_counted(route);
  });
}

void RouteSeries::add_configured(ListenerSample& listener) const {
  const std::size_t reasons = listener.routes.front().closed.size();
  std::set<std::string> missing = configured_;
  for (const RouteSample& route : listener.routes) missing.erase(route.route);
  for (const std::string& name : missing) {
    RouteSample& route = listener.routes.emplace_back();
    route.route = name;
    route.closed.resize(reasons);
  }
}

}  // namespace sallyport::metrics
