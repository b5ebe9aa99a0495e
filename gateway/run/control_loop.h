// The control thread's event loop, and what wakes it.
#pragma once

#include <memory>
#include <optional>

#include "iouring/inbox.h"
#include "iouring/ring.h"
#include "iouring/signals.h"
#include "iouring/task_group.h"
#include "iouring/watch.h"

namespace sallyport::gateway {

/// A ring without connections. Messages of other threads, signals and changed files arrive here.
/// Control thread only, except for Inbox::post().
struct ControlLoop {
  /// Null, with the reason logged, where the kernel refuses any part. SIGHUP, SIGTERM and SIGINT
  /// must be blocked in every thread.
  [[nodiscard]] static std::unique_ptr<ControlLoop> create();

  /// Runs what was spawned into `tasks`, and what that spawns, until all of it has ended.
  void run();

  std::unique_ptr<iouring::Ring> ring;
  std::unique_ptr<iouring::Inbox> inbox;
  std::optional<iouring::Signals> signals;
  std::optional<iouring::Watch> watch;
  std::unique_ptr<iouring::TaskGroup> tasks;
};

}  // namespace sallyport::gateway
