#pragma once
// Signals as something to await (signalfd(2)). Installs no handlers.
#include <initializer_list>
#include <utility>

#include "iouring/file_descriptor.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// Blocks the signals in the calling thread; threads started later inherit it. Call it in main()
/// before the first thread: a signal that one thread leaves unblocked never arrives here.
void block_signals(std::initializer_list<int> signals);

class Signals {
 public:
  /// The signals must be blocked in every thread.
  [[nodiscard]] static Result<Signals> create(Ring& ring, std::initializer_list<int> signals);

  /// The number of the next signal. ECANCELED.
  [[nodiscard]] Task<Result<int>> next();

 private:
  Signals(Ring& ring, FileDescriptor descriptor) noexcept
      : ring_(&ring), descriptor_(std::move(descriptor)) {}

  Ring* ring_;
  FileDescriptor descriptor_;
};

}  // namespace sallyport::iouring
