// The grant of a connection: route, rule and peer by which its client was let in.
#pragma once

#include <memory>

#include "gateway/connection/peer_table.h"
#include "gateway/policy/authorize.h"

namespace sallyport::gateway {

/// Can be judged again later, under another generation: judge().
struct Grant {
  std::shared_ptr<const Route> route;  ///< and with it the policy that it is part of
  PeerTable::Handle peer;              ///< shared by equal peers of the shard
  Rule rule{};                         ///< of the route
};

}  // namespace sallyport::gateway
