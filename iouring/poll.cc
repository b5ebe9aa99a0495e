#include "iouring/poll.h"

#include <liburing.h>
#include <poll.h>

namespace sallyport::iouring {

void Readable::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_poll_add(&sqe, fd_, POLLIN);
}

void SocketReady::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_poll_add(&sqe, -1, static_cast<unsigned>(events_));
  target(sqe);
}

}  // namespace sallyport::iouring
