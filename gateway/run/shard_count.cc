#include "gateway/run/shard_count.h"

#include <cmath>

#include "gateway/run/cpu_quota.h"

namespace sallyport::gateway {

// No more than the quota keeps busy: the others would only use it up earlier, and then all stand
// still until its next period.
ShardCount shard_count(const Options& options, std::size_t usable_cpus) {
  ShardCount count{.usable_cpus = usable_cpus, .cpu_quota = {}};
  count.shards = options.shards.value_or(static_cast<unsigned>(usable_cpus));
  if (options.shards) return count;
  const std::optional<double> quota = cpu_quota();
  if (!quota || *quota >= count.shards) return count;
  count.shards = static_cast<unsigned>(std::ceil(*quota));
  count.cpu_quota = quota;
  return count;
}

}  // namespace sallyport::gateway
