// Tells the log when connects to an endpoint begin to fail, and when they succeed again.
#pragma once

#include <cstdint>
#include <unordered_set>

#include "gateway/backends/endpoints.h"
#include "gateway/run/publisher.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// Looks at the endpoints now and then, so that shards need not tell, and an endpoint that flaps
/// cannot fill the log. Control thread only.
class EndpointWatch {
 public:
  /// `publisher` outlives it.
  explicit EndpointWatch(const Publisher& publisher) : publisher_(publisher) {}

  /// Until it is cancelled.
  [[nodiscard]] iouring::Task<void> log_changes(iouring::Ring& ring);

 private:
  void look(const EndpointSet& endpoints);

  const Publisher& publisher_;
  std::unordered_set<std::uint64_t> failing_;  // ids of endpoints, as logged
};

}  // namespace sallyport::gateway
