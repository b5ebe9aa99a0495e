// Asks the endpoints of the routes, now and then, whether they work.
#pragma once

#include <functional>
#include <memory>

#include "gateway/connection/shard_state.h"
#include "gateway/connection/snapshot.h"

namespace sallyport::gateway {

/// One for all shards, on a thread and a ring of its own, so that neither a shard nor a reload
/// holds it up. What it finds out is in EndpointLife and RouteLife, where the shards see it at
/// their next pick; changes are logged.
class Checker {
 public:
  /// Has no more than `most` sockets, one or more, for checks: what is due when all are taken
  /// waits, by turns of the routes. `on_down` is called on the checker's thread when an endpoint
  /// has gone down whose route ends connections then. Starts nothing yet.
  Checker(unsigned most, std::function<void()> on_down);
  /// Ends the checks and waits for the thread.
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  /// Control thread. From now on the endpoints of this generation are checked, by its policy, and
  /// by `contexts` where that has `backend-tls`. The thread starts with the first that has anything
  /// to check. Where the kernel gives no ring, that is logged, and all stay unknown.
  void serve(const std::shared_ptr<const Snapshot>& snapshot, const BackendContexts& contexts);

 private:
  class Thread;

  unsigned most_;
  std::function<void()> on_down_;
  std::unique_ptr<Thread> thread_;
};

}  // namespace sallyport::gateway
