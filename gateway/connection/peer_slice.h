// The peers of all shards, a few at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {

/// A copy of an entry of a PeerTable, independent of it and its shard.
struct PeerFacts {
  ktls::PeerTrust trust;
  std::string route;
  std::string listener;
  std::uint64_t connections = 0;  ///< that live
  std::chrono::sys_time<std::chrono::milliseconds> last_seen{};
};

enum class WhichPeers : std::uint8_t {
  kConnected,  ///< now
  kRecent,     ///< and those whose last connection ended within PeerTable::kKept
};

/// A place in the list of all peers: shard by shard, oldest entry first. A value. Made without
/// arguments: the beginning.
struct PeerCursor {
  std::size_t shard = 0;
  std::uint64_t after = 0;  ///< number of the last entry that was described; 0: the beginning
};

/// What one turn of a shard described.
struct PeerSlice {
  std::vector<PeerFacts> peers;    ///< may be none, also where there are more
  std::optional<PeerCursor> next;  ///< where to go on; none: that was the last
};
using TakePeers = std::move_only_function<void(PeerSlice)>;

}  // namespace sallyport::gateway
