// Tells the log when connects to an endpoint begin to fail, or its name has no address, and when
// that is over.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_set>

#include "gateway/backends/endpoints.h"
#include "gateway/backends/resolver.h"
#include "gateway/run/publisher.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// Looks at the endpoints now and then, so that shards need not tell, and an endpoint that flaps
/// cannot fill the log. Control thread only.
class EndpointWatch {
 public:
  /// Both outlive it.
  EndpointWatch(const Publisher& publisher, const Resolver& resolver)
      : publisher_(publisher), resolver_(resolver) {}

  /// Until it is cancelled.
  [[nodiscard]] iouring::Task<void> log_changes(iouring::Ring& ring);

 private:
  void look(const EndpointSet& endpoints);
  void look(const Resolutions& names);

  const Publisher& publisher_;
  const Resolver& resolver_;
  std::unordered_set<std::uint64_t> failing_;  // ids of endpoints, as logged
  std::set<std::string> unknown_;              // names, likewise
};

}  // namespace sallyport::gateway
