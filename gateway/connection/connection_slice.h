// The connections of all shards, a few at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "gateway/connection/connection_facts.h"

namespace sallyport::gateway {

/// A place in the list of all connections: shard by shard, oldest first. A value, which holds
/// nothing of a shard. Made without arguments: the beginning.
struct ConnectionCursor {
  std::size_t shard = 0;
  /// LiveConnection::number() of the last one that was described; none: the shard's beginning.
  std::optional<std::uint64_t> after;
};

/// What one turn of a shard described.
struct ConnectionSlice {
  std::vector<ConnectionFacts> connections;  ///< may be none, also where there are more
  std::optional<ConnectionCursor> next;      ///< where to go on; none: that was the last
};
using TakeSlice = std::move_only_function<void(ConnectionSlice)>;

}  // namespace sallyport::gateway
