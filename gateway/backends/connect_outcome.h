// What a connect tells of its endpoint, for the picks of all shards.
#pragma once

#include "gateway/backends/balance.h"
#include "gateway/backends/endpoints.h"
#include "gateway/policy/policy.h"
#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

/// It is there, and has ended what a connection begins with.
void note_connected(const Endpoint& endpoint, iouring::TimePoint now);
/// connect(2) failed so, which is no error of this process (is_our_own()).
void note_connect_failed(Balancer& balancer, const Route& route, const Endpoint& endpoint,
                         int error, iouring::TimePoint now);
/// It was there, and what a connection begins with failed: this counts against the endpoint, not
/// against its address, which other routes may have.
void note_opening_failed(Balancer& balancer, const Route& route, const Endpoint& endpoint,
                         iouring::TimePoint now);

}  // namespace sallyport::gateway
