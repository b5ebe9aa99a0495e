#include "iouring/send.h"

#include <liburing.h>

#include <cerrno>

namespace sallyport::iouring {

void Send::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_send(&sqe, -1, bytes_.data(), bytes_.size(), flags_ | MSG_NOSIGNAL);
  target(sqe);
}

void SendMsg::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_sendmsg(&sqe, -1, message_, static_cast<unsigned>(flags_ | MSG_NOSIGNAL));
  target(sqe);
}

bool RepeatedSend::finish_or_send_rest(int result, unsigned flags, bool rest) noexcept {
  if (result > 0 && rest) {
    if (!cancel_requested()) {
      submit();
      return false;
    }
    result = -ECANCELED;
  }
  return SocketOperation::finish(result, flags);
}

bool SendAll::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (rest_.empty()) return false;
  return SocketOperation::begin(awaiting, scope);
}

void SendAll::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_send(&sqe, -1, rest_.data(), rest_.size(), MSG_NOSIGNAL | flags_);
  target(sqe);
}

bool SendAll::finish(int result, unsigned flags) noexcept {
  if (result > 0) rest_ = rest_.subspan(static_cast<std::size_t>(result));
  return finish_or_send_rest(result, flags, !rest_.empty());
}

bool SendAllVector::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  skip(0);
  if (rest_.empty()) return false;
  return SocketOperation::begin(awaiting, scope);
}

void SendAllVector::prepare(io_uring_sqe& sqe) noexcept {
  message_.msg_iov = rest_.data();
  message_.msg_iovlen = rest_.size();
  io_uring_prep_sendmsg(&sqe, -1, &message_, MSG_NOSIGNAL);
  target(sqe);
}

bool SendAllVector::finish(int result, unsigned flags) noexcept {
  if (result > 0) skip(static_cast<std::size_t>(result));
  return finish_or_send_rest(result, flags, !rest_.empty());
}

void SendAllVector::skip(std::size_t sent) noexcept {
  while (!rest_.empty() && sent >= rest_.front().iov_len) {
    sent -= rest_.front().iov_len;
    rest_ = rest_.subspan(1);
  }
  if (sent == 0) return;
  iovec& cut = rest_.front();
  cut.iov_base = static_cast<std::byte*>(cut.iov_base) + sent;
  cut.iov_len -= sent;
}

}  // namespace sallyport::iouring
