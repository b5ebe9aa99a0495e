#pragma once

#include "gateway/backends/endpoints.h"
#include "gateway/policy/endpoint_rules.h"

namespace sallyport::gateway {

/// `endpoint`, of `route`, has failed so many times in a row: takes it out for a while where the
/// rule says so, but never more than half of the route's endpoints that take connections. Of two
/// threads that would do so at once, one does; the other's failures stay counted. `chance`: 0 to 1.
/// Any thread. True: it is ejected now.
bool eject_if_due(const RouteEndpoints& route, const Endpoint& endpoint, unsigned failures,
                  const Ejection& rule, iouring::TimePoint now, double chance) noexcept;

}  // namespace sallyport::gateway
