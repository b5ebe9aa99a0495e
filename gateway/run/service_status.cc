#include "gateway/run/service_status.h"

#include <algorithm>
#include <chrono>

#include "gateway/observe/log.h"
#include "gateway/run/admin_handlers.h"
#include "gateway/run/service_manager.h"
#include "iouring/deadline.h"
#include "metrics/utf8.h"

namespace sallyport::gateway {
namespace {

constexpr std::chrono::seconds kLookAgainEvery{1};
constexpr int kLooksPerCount = 10;
constexpr std::size_t kLongestLine = 1'024;

}  // namespace

std::string status_line(const ServiceState& state, std::uint64_t connections) {
  const auto [ready, reason] = state.readiness;
  std::string line = (ready ? "ready" : "not ready: " + reason) + ", " +
                     std::to_string(connections) +
                     (connections == 1 ? " connection" : " connections") + ", generation " +
                     std::to_string(state.generation);
  if (ready && !reason.empty()) line += "; " + reason;
  if (state.hanging) line += "; shard " + std::to_string(*state.hanging) + " hangs";
  for (const std::string& each : state.refused) line += "; refused, last good state stays: " + each;
  if (line.size() > kLongestLine) line.replace(kLongestLine - 3, std::string::npos, "...");
  // systemd takes what stands behind a line's end for the next variable, and no text but UTF-8.
  std::ranges::replace(line, '\n', ' ');
  return metrics::valid_utf8(line);
}

iouring::Task<void> ServiceStatus::report_changes(iouring::Ring& ring) {
  std::string told;
  bool hung = false;
  for (int looks = 0;; ++looks) {
    const ServiceState state = look();
    if (state.hanging && !hung)
      log_error("a shard hangs: the watchdog is not fed", {{"shard", *state.hanging}});
    hung = state.hanging.has_value();
    const std::string without_count = status_line(state, 0);
    if (without_count != told || looks == kLooksPerCount) {
      notify_status(status_line(state, registry_.open_connections()));
      told = without_count;
      looks = 0;
    }
    iouring::Result<> slept = co_await iouring::sleep_for(ring, kLookAgainEvery);
    if (!slept) co_return;
  }
}

ServiceState ServiceStatus::look() const {
  const auto snapshot = publisher_.snapshot();
  return {.readiness = readiness(*snapshot, drain_.begun(), std::chrono::system_clock::now()),
          .generation = snapshot->generation,
          .refused = reloader_.refused(),
          .hanging = shards_.hanging()};
}

}  // namespace sallyport::gateway
