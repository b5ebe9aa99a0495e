#include "gateway/run/control_loop.h"

#include <csignal>
#include <utility>

#include "gateway/observe/log.h"

namespace sallyport::gateway {
namespace {

iouring::Task<void> wait_for(iouring::TaskGroup& tasks) {
  co_await tasks.join();
}

}  // namespace

std::unique_ptr<ControlLoop> ControlLoop::create() {
  auto ring = iouring::Ring::create(
      {.entries = 64, .completion_entries = 256, .use = iouring::RingUse::kServe});  // for --reload
  if (!ring) {
    log_error("no io_uring", {{"error", ring.error().what}});
    return nullptr;
  }
  auto inbox = iouring::Inbox::create(**ring);
  auto signals = iouring::Signals::create(**ring, {SIGHUP, SIGTERM, SIGINT});
  auto watch = iouring::Watch::create(**ring);
  if (!inbox || !signals || !watch) {
    const iouring::Errno error = !inbox     ? inbox.error()
                                 : !signals ? signals.error()
                                            : watch.error();
    log_error("cannot wait for signals and files", {{"error", error.name()}});
    return nullptr;
  }
  auto loop = std::make_unique<ControlLoop>();
  loop->ring = *std::move(ring);
  loop->inbox = *std::move(inbox);
  loop->signals = *std::move(signals);
  loop->watch = *std::move(watch);
  loop->tasks = std::make_unique<iouring::TaskGroup>(*loop->ring);
  return loop;
}

void ControlLoop::run() {
  ring->run(wait_for(*tasks));
}

}  // namespace sallyport::gateway
