#include "iouring/recv.h"

#include <liburing.h>

#include <cerrno>

#include "iouring/socket.h"

namespace sallyport::iouring {

void ReceiveOperation::poll_first(io_uring_sqe& sqe) const noexcept {
  if (socket_->emptied_) sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
}

// IORING_CQE_F_SOCK_NONEMPTY counts a waiting FIN too. Unix sockets (before 6.17) and TLS sockets
// do not set it; for them a full buffer counts as more.
void ReceiveOperation::note_more(int result, unsigned flags, std::size_t room) noexcept {
  const bool received = result > 0;
  socket_->more_waiting_ = received && ((flags & IORING_CQE_F_SOCK_NONEMPTY) != 0 ||
                                        static_cast<std::size_t>(result) == room);
  socket_->emptied_ = (received && !socket_->more_waiting_) || result == -EAGAIN;
}

void Recv::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_recv(&sqe, -1, room_.data(), room_.size(), flags_);
  target(sqe);
  if ((flags_ & MSG_DONTWAIT) == 0) poll_first(sqe);  // with it: EAGAIN without a try
}

bool Recv::finish(int result, unsigned flags) noexcept {
  note_more(result, flags, room_.size());
  return SocketOperation::finish(result, flags);
}

void RecvMsg::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_recvmsg(&sqe, -1, message_, static_cast<unsigned>(flags_));
  target(sqe);
  if ((flags_ & MSG_DONTWAIT) == 0) poll_first(sqe);
}

bool RecvMsg::finish(int result, unsigned flags) noexcept {
  std::size_t room = 0;
  for (std::size_t i = 0; i < message_->msg_iovlen; ++i) room += message_->msg_iov[i].iov_len;
  note_more(result, flags, room);
  return SocketOperation::finish(result, flags);
}

}  // namespace sallyport::iouring
