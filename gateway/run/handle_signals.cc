#include "gateway/run/handle_signals.h"

#include <chrono>
#include <csignal>

#include "gateway/observe/log.h"

namespace sallyport::gateway {
namespace {

// Service managers and shells signal a process group and then the process: a second signal within
// this time is the first one again.
constexpr std::chrono::seconds kSameSignal{1};

void drain_or_end(Drain& drain, int signal) {
  if (drain.begin()) {
    log_audit(LogLevel::kInfo, "draining", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
  } else if (drain.age() < kSameSignal) {
    log_info("signal within a second of the first: the same");
  } else {
    log_audit(LogLevel::kWarning, "ending at once: second signal");
    drain.end_at_once();
  }
}

}  // namespace

iouring::Task<void> handle_signals(iouring::Signals& signals, Reloader& reloader, Drain& drain) {
  for (;;) {
    iouring::Result<int> signal = co_await signals.next();
    if (!signal) co_return;
    if (*signal == SIGHUP) {
      reloader.reload_on_demand("SIGHUP");
    } else {
      drain_or_end(drain, *signal);
    }
  }
}

}  // namespace sallyport::gateway
