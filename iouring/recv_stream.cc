#include "iouring/recv_stream.h"

#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sallyport::iouring {

void RecvStream::next_from(BufferRing& buffers, bool may_stay) noexcept {
  if (in_flight()) return;
  buffers_ = &buffers;
  may_stay_ = may_stay;
}

bool RecvStream::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (!in_flight()) {
    awaited_ = ReceiveOperation::begin(awaiting, scope);
    return awaited_;
  }
  invariant(!socket_->ahead_, "what was received ahead is taken before anything else");
  if (scope != nullptr && scope->cancelled()) {
    result_ = -ECANCELED;
    return false;
  }
  invariant(!cancel_requested(), "a stream that was cancelled is awaited to its end");
  wait_on(awaiting, scope);
  awaited_ = true;
  return true;
}

void RecvStream::prepare(io_uring_sqe& sqe) noexcept {
  BufferReceive::prepare(sqe);
  if (!may_stay_ || calm_ < calm_needed_) return;
  sqe.ioprio |= IORING_RECV_MULTISHOT;
  sqe.len = 0;  // of the buffer
}

bool RecvStream::finish(int result, unsigned flags) noexcept {
  const bool more_to_come = (flags & IORING_CQE_F_MORE) != 0;
  if (awaited_) {
    awaited_ = !BufferReceive::finish(result, flags);  // not if it waits for a buffer now
    const bool calm = result > 0 && !socket_->more_waiting();
    calm_ = calm ? static_cast<std::uint8_t>(std::min<unsigned>(calm_ + 1U, kCalmAgain)) : 0;
    return !awaited_;
  }
  receive_ahead(result, flags);
  if (more_to_come) {
    on_cancel();
    return false;
  }
  SocketOperation::finish(result, flags);
  return std::exchange(ending_, false);
}

void RecvStream::on_ready() noexcept {
  awaited_ = false;
  BufferReceive::on_ready();
}

void RecvStream::receive_ahead(int result, unsigned flags) noexcept {
  const Lease lease = buffer_of(result, flags);
  if (result == -ECANCELED) return;
  calm_ = 0;
  calm_needed_ = kCalmAgain;
  if (result == -ENOBUFS) {  // whoever awaits the stream next waits for a buffer
    socket_->emptied_ = false;
    return;
  }
  // An end of file is there for the next receive, too.
  note_more(result, flags, lease.room().size());
  const bool more = result == 0 || socket_->more_waiting_;
  if (result != 0) {
    if (!socket_->ahead_) socket_->ahead_ = std::make_unique<ReceivedAhead>();
    socket_->ahead_->add(lease.bytes());
    if (result < 0) socket_->ahead_->error = result;
  }
  if (socket_->ahead_) socket_->ahead_->more = more;
  socket_->more_waiting_ = true;
  socket_->emptied_ = false;
}

void RecvStream::end(std::coroutine_handle<> awaiting) noexcept {
  invariant(!awaited_, "a stream that somebody awaits is not ended");
  ending_ = true;
  wait_on(awaiting, nullptr);
  on_cancel();
}

}  // namespace sallyport::iouring
