#pragma once

#include <chrono>
#include <condition_variable>
#include <expected>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "gateway/run/state_dir.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// Times of a StateKeeper.
struct StatePace {
  std::chrono::milliseconds between{1'000};  ///< one write and the next
  std::chrono::milliseconds retry{10'000};   ///< after a failure
};

/// Keeps the newest text in a file of --state-dir, by a thread of its own, since a disk may be
/// slow. A failure is counted each time and logged once, and tried again: the gateway goes on
/// without.
class StateKeeper {
 public:
  /// `registry` outlives it.
  StateKeeper(StateDir directory, std::string name, metrics::Registry& registry,
              StatePace pace = {});
  /// Writes what waits, once.
  ~StateKeeper();
  StateKeeper(const StateKeeper&) = delete;
  StateKeeper& operator=(const StateKeeper&) = delete;

  /// Any thread; waits for nothing. Of several that come between two writes the last one is
  /// written.
  void keep(std::string text);

 private:
  void write_until(const std::stop_token& stop);
  void report(const std::expected<void, std::string>& written);

  const StateDir directory_;
  const std::string name_;
  metrics::Registry& registry_;
  const StatePace pace_;
  bool failing_ = false;  // of the thread
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<std::string> waiting_;
  std::jthread thread_;
};

}  // namespace sallyport::gateway
