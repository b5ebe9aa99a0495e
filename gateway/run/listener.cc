#include "gateway/run/listener.h"

#include <cerrno>

#include "gateway/connection/serve.h"
#include "gateway/observe/log.h"

namespace sallyport::gateway {

iouring::Task<void> accept_connections(ShardState& shard, ServedListener& served,
                                       iouring::Listener& listener,
                                       iouring::TaskGroup& connections) {
  for (;;) {
    iouring::Result<iouring::Socket> accepted = co_await listener.accept();
    if (accepted) {
      connections.spawn(serve(shard, served, *std::move(accepted)));
      continue;
    }
    if (accepted.error().value == ESHUTDOWN) co_return;
    log_error("listener failed", {{"listener", served.text}, {"error", accepted.error().name()}});
    co_return;
  }
}

}  // namespace sallyport::gateway
