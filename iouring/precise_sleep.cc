#include "iouring/precise_sleep.h"

#include <liburing.h>

#include <cerrno>

namespace sallyport::iouring {

PreciseSleep::PreciseSleep(Ring& ring, std::chrono::nanoseconds duration) noexcept
    : Operation(&ring),
      duration_{.tv_sec = duration.count() / 1'000'000'000,
                .tv_nsec = duration.count() % 1'000'000'000} {}

void PreciseSleep::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_timeout(&sqe, &duration_, 0, 0);
}

Result<> PreciseSleep::await_resume() const noexcept {
  if (result_ == -ETIME) return {};
  return failure(result_);
}

}  // namespace sallyport::iouring
