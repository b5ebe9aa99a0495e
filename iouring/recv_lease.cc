#include "iouring/recv_lease.h"

#include <liburing.h>

#include <cerrno>
#include <utility>

#include "iouring/invariant.h"

namespace sallyport::iouring {

RecvLease::~RecvLease() {
  invariant(!in_queue_.linked(), "a receive lives until it has stopped waiting for a buffer");
}

void RecvLease::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_recv(&sqe, -1, nullptr, buffers_->buffer_bytes(), 0);
  target(sqe);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = buffers_->group_;
  poll_first(sqe);
  // The kernel picks a buffer before it looks at the socket. A receive that has waited for a buffer
  // must not take one unless there is something to receive.
  if (waited_) sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
  ++buffers_->receiving_;
}

bool RecvLease::finish(int result, unsigned flags) noexcept {
  --buffers_->receiving_;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    lease_ = buffers_->lease(static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT),
                             result > 0 ? static_cast<std::uint32_t>(result) : 0);
    if (result <= 0) lease_.release();
  }
  if (result == -ENOBUFS) {
    if (!cancel_requested()) {
      waited_ = true;
      buffers_->wait_for_buffer(*this);
      return false;
    }
    result = -ECANCELED;
  }
  note_more(result, flags, buffers_->buffer_bytes());
  return SocketOperation::finish(result, flags);
}

void RecvLease::on_cancel() noexcept {
  if (!in_queue_.linked()) {
    Operation::on_cancel();
    return;
  }
  in_queue_.unlink();
  --buffers_->waiting_;
  result_ = -ECANCELED;
  ring().make_ready(*this);
}

void RecvLease::buffer_may_be_free() noexcept {
  submit();
}

Result<Lease> RecvLease::await_resume() noexcept {
  if (result_ < 0) return failure(result_);
  return std::move(lease_);
}

}  // namespace sallyport::iouring
