// The last good discovery in --state-dir.
#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <string>

#include "gateway/backends/discovery_state.h"
#include "gateway/run/config.h"
#include "gateway/run/state_dir.h"
#include "gateway/run/state_keeper.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// Nothing where none was kept yet. The error names the file and says why it is not used.
[[nodiscard]] std::expected<std::optional<KeptDiscovery>, std::string> read_kept_discovery(
    const StateDir& directory, const std::string& discovery_file);

/// Keeps what is in force. Control thread only.
class DiscoveryKeeper {
 public:
  /// What does not change is written again after this time, so that its age is known after a crash.
  static constexpr std::chrono::minutes kRepeat{15};

  /// `registry` outlives it.
  DiscoveryKeeper(StateDir directory, metrics::Registry& registry);

  /// After each reload.
  void keep(const Config& config, const std::string& discovery_file);

 private:
  StateKeeper file_;
  std::optional<std::chrono::steady_clock::time_point> kept_;
};

}  // namespace sallyport::gateway
