#include "gateway/backends/connect_outcome.h"

#include "gateway/backends/is_our_own.h"

namespace sallyport::gateway {

void note_connected(const Endpoint& endpoint, iouring::TimePoint now) {
  endpoint.health->succeeded();
  if (endpoint.ipv6) endpoint.ipv6->succeeded(now);
  endpoint.life->connected();
}

void note_connect_failed(Balancer& balancer, const Route& route, const Endpoint& endpoint,
                         int error, iouring::TimePoint now) {
  if (endpoint.ipv6) endpoint.ipv6->failed(now, error);
  if (is_local(error)) return;
  endpoint.health->failed(now, error);
  note_opening_failed(balancer, route, endpoint, now);
}

void note_opening_failed(Balancer& balancer, const Route& route, const Endpoint& endpoint,
                         iouring::TimePoint now) {
  endpoint.life->count_connect_failure();
  balancer.eject_if_due(route, endpoint, endpoint.life->count_failure(), now);
}

}  // namespace sallyport::gateway
