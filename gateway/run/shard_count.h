// How many shards this process has.
#pragma once

#include <cstddef>
#include <optional>

#include "gateway/run/options.h"

namespace sallyport::gateway {

struct ShardCount {
  unsigned shards = 1;
  std::size_t usable_cpus = 1;
  std::optional<double> cpu_quota;  ///< in CPUs, where it is what limits `shards`
};

/// --shards; without it one for each of the usable CPUs, of which the cgroup's quota may leave
/// fewer, rounded up.
[[nodiscard]] ShardCount shard_count(const Options& options, std::size_t usable_cpus);

}  // namespace sallyport::gateway
