#include "gateway/backends/ejection.h"

#include <cstddef>

namespace sallyport::gateway {
namespace {

// Whether one more makes no more than half.
bool has_room(const RouteEndpoints& route, iouring::TimePoint now) noexcept {
  std::size_t all = 0;
  std::size_t ejected = 0;
  for (const auto& endpoint : route.endpoints) {
    if (!endpoint->takes_new_connections()) continue;
    all += 1;
    if (endpoint->life->ejected(now)) ejected += 1;
  }
  return (ejected + 1) * 2 <= all;
}

}  // namespace

bool eject_if_due(const RouteEndpoints& route, const Endpoint& endpoint, unsigned failures,
                  const Ejection& rule, iouring::TimePoint now, double chance) noexcept {
  if (failures < rule.failures || endpoint.life->ejected(now)) return false;
  if (route.life->ejecting.test_and_set(std::memory_order_acquire)) return false;
  const bool ejects = !endpoint.life->ejected(now) && has_room(route, now);
  if (ejects) endpoint.life->eject(rule, now, chance);
  route.life->ejecting.clear(std::memory_order_release);
  return ejects;
}

}  // namespace sallyport::gateway
