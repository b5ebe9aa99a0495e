#pragma once
// Pauses shorter than a tick of the TimerWheel.
#include <linux/time_types.h>

#include <chrono>

#include "iouring/operation.h"

namespace sallyport::iouring {

/// `Result<> slept = co_await sleep_precisely(ring, 200us);`: ECANCELED when its scope was
/// cancelled first. A timer of the kernel (IORING_OP_TIMEOUT), which costs an entry and a
/// completion: for the few that sleep_for() would let sleep too long. Measured from its submission.
class [[nodiscard]] PreciseSleep final : public Operation {
 public:
  PreciseSleep(Ring& ring, std::chrono::nanoseconds duration) noexcept;
  Result<> await_resume() const noexcept;

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;

  __kernel_timespec duration_;
};

[[nodiscard]] inline PreciseSleep sleep_precisely(Ring& ring,
                                                  std::chrono::nanoseconds duration) noexcept {
  return {ring, duration};
}

}  // namespace sallyport::iouring
