#pragma once
// Watching directories through the ring (inotify(7)).
#include <cstdint>
#include <deque>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "iouring/file_descriptor.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

struct WatchEvent {
  /// kChanged: `name` in the directory changed. kLost: the watch is gone, because the directory was
  /// deleted, moved away or unmounted; add it again. kOverflow: events were dropped; anything may
  /// have changed.
  enum class Kind : std::uint8_t { kChanged, kLost, kOverflow };
  Kind kind = Kind::kChanged;
  int watch = -1;          // what add() returned; -1 for an overflow
  std::uint32_t mask = 0;  // IN_*
  std::string name;        // of the file within the directory; may be empty
};

/// Watches directories, not files: when a rename replaces a file, a watch on it is lost.
class Watch {
 public:
  [[nodiscard]] static Result<Watch> create(Ring& ring);

  /// Watches for all that can change the contents behind a name in `directory`: a write in place, a
  /// rename over it, a symlink swap, a delete. Adding a directory again returns the same number.
  /// Errors: inotify_add_watch(2)'s. Accesses the file system, so it may block on a dead network
  /// mount.
  [[nodiscard]] Result<int> add_blocking(const std::filesystem::path& directory);

  /// The next event. Events that were read together are returned without another wait. ECANCELED.
  [[nodiscard]] Task<Result<WatchEvent>> next();
  /// Events that next() returns without a wait.
  [[nodiscard]] std::size_t pending() const noexcept { return events_.size(); }

 private:
  Watch(Ring& ring, FileDescriptor inotify) noexcept : ring_(&ring), inotify_(std::move(inotify)) {}
  [[nodiscard]] Result<> read_events();
  void note(int watch, std::uint32_t mask, std::string_view name);

  Ring* ring_;
  FileDescriptor inotify_;
  std::deque<WatchEvent> events_;
};

}  // namespace sallyport::iouring
