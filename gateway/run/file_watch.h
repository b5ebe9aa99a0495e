// Waits for the configuration's files to change.
#pragma once

#include <filesystem>
#include <set>
#include <vector>

#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/task.h"
#include "iouring/watch.h"

namespace sallyport::gateway {

/// Directories that are watched through inotify(7). Control thread only.
class FileWatch {
 public:
  /// `ring` and `watch` outlive it.
  FileWatch(iouring::Ring& ring, iouring::Watch& watch) : ring_(ring), watch_(watch) {}

  /// Watches these too, and again those that were replaced meanwhile: a directory of the same name
  /// has a new inode. One that cannot be watched is logged once. May block on a dead network mount.
  void add(const std::vector<std::filesystem::path>& directories);

  /// Completes some time after something changed, when the writers have settled. ECANCELED; any
  /// other error is final.
  [[nodiscard]] iouring::Task<iouring::Result<>> changed();

 private:
  iouring::Ring& ring_;
  iouring::Watch& watch_;
  std::set<std::filesystem::path> unwatched_;  // logged already
};

}  // namespace sallyport::gateway
