#pragma once
// Cancelling what another task has begun to wait for.
#include "iouring/cancel.h"
#include "iouring/next_iteration.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

inline Task<void> cancel_soon(Ring& ring, CancelScope& scope) {
  co_await next_iteration(ring);
  scope.cancel();
}

/// Cancels what has begun to wait by then.
inline Task<void> cancel_later(Ring& ring, CancelScope& scope) {
  for (int i = 0; i < 5; ++i) co_await next_iteration(ring);
  scope.cancel();
}

}  // namespace sallyport::iouring
