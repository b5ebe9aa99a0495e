#pragma once
// Awaiting signals (signalfd(2)). Installs no handlers.
#include <initializer_list>
#include <utility>

#include "iouring/file_descriptor.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// Blocks the signals in the calling thread; threads that it starts later inherit the mask. Call it
/// in main() before the first thread starts: the kernel may deliver a signal to any thread that has
/// not blocked it, and then it never arrives here.
void block_signals(std::initializer_list<int> signals);

class Signals {
 public:
  /// The signals must be blocked in every thread.
  [[nodiscard]] static Result<Signals> create(Ring& ring, std::initializer_list<int> signals);

  /// Waits for a signal; returns its number. ECANCELED.
  [[nodiscard]] Task<Result<int>> next();

 private:
  Signals(Ring& ring, FileDescriptor descriptor) noexcept
      : ring_(&ring), descriptor_(std::move(descriptor)) {}

  Ring* ring_;
  FileDescriptor descriptor_;
};

}  // namespace sallyport::iouring
