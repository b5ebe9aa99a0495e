#include "gateway/backends/gone_endpoints.h"

#include <unordered_set>
#include <utility>

namespace sallyport::gateway {

std::vector<GoneEndpoint> GoneEndpoints::take_over(const EndpointSet* before,
                                                   const EndpointSet& next,
                                                   iouring::TimePoint now) {
  std::unordered_set<const EndpointLife*> here;
  for (const RouteEndpoints& route : next.routes()) {
    for (const auto& endpoint : route.endpoints) {
      here.insert(endpoint->life.get());
      const auto back = by_life_.find(endpoint->life.get());
      if (back == by_life_.end()) continue;
      queue_.erase(back->second);
      by_life_.erase(back);
    }
  }
  std::vector<GoneEndpoint> forgotten;
  if (before == nullptr) return forgotten;
  std::size_t came = 0;
  for (const RouteEndpoints& route : before->routes()) {
    for (const auto& endpoint : route.endpoints) {
      if (here.contains(endpoint->life.get())) continue;
      endpoint->life->set_leaving(true, now);
      queue_.push_back({{route.name, endpoint}, now});
      by_life_.emplace(endpoint->life.get(), std::prev(queue_.end()));
      ++came;
    }
  }
  while (!queue_.empty() && now - queue_.front().since > kRemembered) look_at_first(now, forgotten);
  // Two for each that came make room, unless most have connections.
  for (std::size_t i = 0; i < 2 * came && queue_.size() > kMost; ++i) look_at_first(now, forgotten);
  return forgotten;
}

void GoneEndpoints::look_at_first(iouring::TimePoint now, std::vector<GoneEndpoint>& forgotten) {
  ++looks_;
  const auto first = queue_.begin();
  EndpointLife& life = *first->gone.endpoint->life;
  if (life.connections() > 0) {
    first->since = now;
    queue_.splice(queue_.end(), queue_, first);
    return;
  }
  life.forget();
  by_life_.erase(&life);
  forgotten.push_back(std::move(first->gone));
  queue_.erase(first);
}

std::vector<GoneEndpoint> GoneEndpoints::list() const {
  std::vector<GoneEndpoint> all;
  all.reserve(queue_.size());
  for (const Remembered& each : queue_) all.push_back(each.gone);
  return all;
}

}  // namespace sallyport::gateway
