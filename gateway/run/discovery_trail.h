// Where the endpoints that are in force come from, and since when they are.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/backends/discovery.h"

namespace sallyport::gateway {

/// A discovery file that was read, good or not.
struct WrittenFile {
  uid_t uid = 0;
  std::string owner;  ///< the user's name
  std::chrono::sys_seconds modified;
  std::uint64_t bytes = 0;
  std::string sha256;             ///< of the content, in hex
  std::chrono::sys_seconds read;  ///< when this content was first read

  /// Control thread only (getpwuid(3)).
  WrittenFile(const struct stat& status, std::string_view content, std::chrono::sys_seconds now);
};

/// A value of Config; control thread only.
class DiscoveryTrail {
 public:
  struct Route {
    std::chrono::sys_seconds since;  ///< its targets are these
    bool kept = false;               ///< they are those of --state-dir
  };

  /// What --state-dir had is what was in force before.
  void begin_with(const Discovery& kept, std::chrono::sys_seconds now);

  /// The newest file; nothing: it could not be read.
  void read(std::optional<WrittenFile> file);

  /// `next` takes over from `before` (null: nothing): the content of the file, but for its refused
  /// routes.
  void took(const Discovery* before, const Discovery& next, std::chrono::sys_seconds now);

  [[nodiscard]] const std::optional<WrittenFile>& file() const { return file_; }
  /// Of each that is in force, by name.
  [[nodiscard]] const std::map<std::string, Route, std::less<>>& routes() const { return routes_; }
  /// How many routes have the targets of --state-dir.
  [[nodiscard]] std::size_t kept_routes() const;

 private:
  std::optional<WrittenFile> file_;
  std::map<std::string, Route, std::less<>> routes_;
};

}  // namespace sallyport::gateway
