#pragma once
// Directories watched through the ring (inotify(7)).
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
  /// Something happened to `name` in the directory, the directory's watch is gone (it was deleted,
  /// moved away or unmounted: add it again), or events were dropped (look at everything).
  enum class Kind : std::uint8_t { kChanged, kLost, kOverflow };
  Kind kind = Kind::kChanged;
  int watch = -1;          // what add() returned; -1 for an overflow
  std::uint32_t mask = 0;  // IN_*
  std::string name;        // the file within the directory, may be empty
};

/// Watch directories, not files: a file that is replaced by rename takes its watch with it.
class Watch {
 public:
  [[nodiscard]] static Result<Watch> create(Ring& ring);

  /// Everything that can change the contents that a name in `directory` has: in-place write, rename
  /// over, symlink swap, delete. Adding a directory again returns the same number. Errors:
  /// inotify_add_watch(2)'s. Touches the file system, so it may block on a dead network mount.
  [[nodiscard]] Result<int> add_blocking(const std::filesystem::path& directory);

  /// The next event; those read in one go with it follow without a wait. ECANCELED.
  [[nodiscard]] Task<Result<WatchEvent>> next();
  /// Events at hand: next() will not wait for these.
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
