// /discovery: who wrote the discovery file, what of it is in force, and since when.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sallyport::gateway {

struct DiscoveryView {
  struct Written {
    std::uint64_t uid = 0;
    std::string owner;  ///< the user's name
    std::chrono::sys_seconds modified;
    std::uint64_t bytes = 0;
    std::string sha256;
    std::chrono::sys_seconds read;  ///< when this content was first read
  };
  struct Route {
    std::string name;
    std::size_t targets = 0;
    std::map<std::string, std::size_t> zones = {};  ///< of them, by name; "" are those without
    std::chrono::sys_seconds since;
    bool from_state = false;  ///< its targets are those of --state-dir
    std::optional<std::string> refused = std::nullopt;
  };

  std::string file;
  std::string zone = {};               ///< ours; empty: none
  std::optional<Written> written;      ///< the newest content; none: it could not be read
  std::optional<std::string> refused;  ///< why none of that is in force
  std::size_t ignored_groups = 0;
  std::string state_dir;  ///< empty: there is none
  /// Of routes `from_state`: when that was in force last, in an earlier process.
  std::optional<std::chrono::sys_seconds> state_as_of;
  std::vector<Route> routes;
};

[[nodiscard]] std::string discovery_json(const DiscoveryView& view,
                                         std::chrono::system_clock::time_point now);

/// "endpoints of 2 routes are of --state-dir, 3 hours old"; empty where none are.
[[nodiscard]] std::string state_in_use(const DiscoveryView& view,
                                       std::chrono::system_clock::time_point now);

}  // namespace sallyport::gateway
