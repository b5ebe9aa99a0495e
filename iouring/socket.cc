#include "iouring/socket.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <cerrno>

#include "iouring/socket_command.h"

namespace sallyport::iouring {

static_assert(sizeof(Socket) == 16, "memory per idle connection is the product");

Socket::Socket(Ring& ring, FileDescriptor descriptor) noexcept
    : ring_(&ring), index_(descriptor.release()) {}

Socket::Socket(Socket&& other) noexcept
    : ring_(other.ring_),
      index_(std::exchange(other.index_, -1)),
      in_table_(std::exchange(other.in_table_, false)),
      more_waiting_(std::exchange(other.more_waiting_, false)),
      emptied_(std::exchange(other.emptied_, false)) {
  invariant(other.in_flight_ == 0, "a socket stays in place while operations are in flight",
            other.in_flight_);
}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this == &other) return *this;
  invariant(other.in_flight_ == 0, "a socket stays in place while operations are in flight",
            other.in_flight_);
  dispose(false);
  ring_ = other.ring_;
  index_ = std::exchange(other.index_, -1);
  in_table_ = std::exchange(other.in_table_, false);
  more_waiting_ = std::exchange(other.more_waiting_, false);
  emptied_ = std::exchange(other.emptied_, false);
  return *this;
}

Socket::~Socket() {
  dispose(false);
}

void Socket::reset() noexcept {
  dispose(true);
}

void Socket::dispose(bool abortive) noexcept {
  invariant(in_flight_ == 0, "a socket is closed when no operation is in flight", in_flight_);
  if (index_ < 0) return;
  const int index = std::exchange(index_, -1);
  if (std::exchange(in_table_, false)) {
    ring_->close_slot(index, abortive);
    return;
  }
  if (abortive) {
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(index, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  ::close(index);
}

Result<> Socket::set_option(int level, int name, int value) noexcept {
  if (in_table_) return failure(EOPNOTSUPP);
  if (::setsockopt(index_, level, name, &value, sizeof value) != 0) return failure(errno);
  return {};
}

Result<int> Socket::get_option(int level, int name) const noexcept {
  if (in_table_) return failure(EOPNOTSUPP);
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(index_, level, name, &value, &size) != 0) return failure(errno);
  return value;
}

Result<SocketAddress> Socket::local_address() const noexcept {
  if (in_table_) return failure(EOPNOTSUPP);
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (::getsockname(index_, reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return failure(errno);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&storage), size);
}

Result<SocketAddress> Socket::peer_address() const noexcept {
  if (in_table_) return failure(EOPNOTSUPP);
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (::getpeername(index_, reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return failure(errno);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&storage), size);
}

Result<FileDescriptor> Socket::release() noexcept {
  invariant(in_flight_ == 0, "a socket is given away when no operation is in flight", in_flight_);
  if (in_table_) return failure(EOPNOTSUPP);
  return FileDescriptor(std::exchange(index_, -1));
}

SocketOperation::SocketOperation(Socket& socket) noexcept
    : Operation(socket.ring_), socket_(&socket) {}

bool SocketOperation::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (!*socket_) {
    result_ = -EBADF;
    return false;
  }
  if (!Operation::begin(awaiting, scope)) return false;
  ++socket_->in_flight_;
  return true;
}

bool SocketOperation::finish(int result, unsigned /*flags*/) noexcept {
  result_ = result;
  --socket_->in_flight_;
  return true;
}

void SocketOperation::on_ready() noexcept {
  --socket_->in_flight_;
  Operation::on_ready();
}

void SocketOperation::target(io_uring_sqe& sqe) const noexcept {
  sqe.fd = socket_->index_;
  if (socket_->in_table_) sqe.flags |= IOSQE_FIXED_FILE;
}

Result<std::size_t> SocketOperation::count_or_error() const noexcept {
  if (result_ < 0) return failure(result_);
  return static_cast<std::size_t>(result_);
}

Result<> SocketOperation::done_or_error() const noexcept {
  if (result_ < 0) return failure(result_);
  return {};
}

// ---- receiving

void ReceiveOperation::poll_first(io_uring_sqe& sqe) const noexcept {
  if (socket_->emptied_) sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
}

// IORING_CQE_F_SOCK_NONEMPTY counts a waiting FIN too. Unix sockets (before 6.17) and TLS sockets
// do not give it: there a full buffer is the sign.
void ReceiveOperation::note_more(int result, unsigned flags, std::size_t room) noexcept {
  const bool received = result > 0;
  socket_->more_waiting_ = received && ((flags & IORING_CQE_F_SOCK_NONEMPTY) != 0 ||
                                        static_cast<std::size_t>(result) == room);
  socket_->emptied_ = (received && !socket_->more_waiting_) || result == -EAGAIN;
}

void Recv::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_recv(&sqe, -1, room_.data(), room_.size(), flags_);
  target(sqe);
  if ((flags_ & MSG_DONTWAIT) == 0) poll_first(sqe);  // which would be EAGAIN at once
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

void SocketReady::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_poll_add(&sqe, -1, static_cast<unsigned>(events_));
  target(sqe);
}

// ---- options

bool SocketOption::begin(std::coroutine_handle<> awaiting, CancelScope* /*scope*/) noexcept {
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, nullptr);
  socklen_t size = sizeof error_;
  const int done = value_.empty()
                       ? ::getsockopt(socket_->descriptor(), level_, name_, &error_, &size)
                       : ::setsockopt(socket_->descriptor(), level_, name_, value_.data(),
                                      static_cast<socklen_t>(value_.size()));
  result_ = done == 0 ? 0 : -errno;
  return false;
}

void SocketOption::prepare(io_uring_sqe& sqe) noexcept {
  const bool get = value_.empty();
  prepare_socket_option(sqe, get ? kGetSockOpt : kSetSockOpt, level_, name_,
                        get ? static_cast<const void*>(&error_) : value_.data(),
                        static_cast<std::uint32_t>(get ? sizeof error_ : value_.size()));
  target(sqe);
}

// ---- sending

void Send::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_send(&sqe, -1, bytes_.data(), bytes_.size(), flags_ | MSG_NOSIGNAL);
  target(sqe);
}

void SendMsg::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_sendmsg(&sqe, -1, message_, static_cast<unsigned>(flags_ | MSG_NOSIGNAL));
  target(sqe);
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
  if (result > 0) {
    rest_ = rest_.subspan(static_cast<std::size_t>(result));
    if (!rest_.empty()) {
      if (!cancel_requested()) {
        submit();
        return false;
      }
      result = -ECANCELED;
    }
  }
  return SocketOperation::finish(result, flags);
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
  if (result > 0) {
    skip(static_cast<std::size_t>(result));
    if (!rest_.empty()) {
      if (!cancel_requested()) {
        submit();
        return false;
      }
      result = -ECANCELED;
    }
  }
  return SocketOperation::finish(result, flags);
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

// ---- the write side, the table, the end

bool ShutdownWrite::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, scope);
  if (scope != nullptr && scope->cancelled())
    result_ = -ECANCELED;
  else
    result_ = ::shutdown(socket_->descriptor(), SHUT_WR) == 0 ? 0 : -errno;
  return false;
}

void ShutdownWrite::prepare(io_uring_sqe& sqe) noexcept {
  if (through_ring_)
    io_uring_prep_shutdown(&sqe, -1, SHUT_WR);
  else
    sqe.opcode = static_cast<std::uint8_t>(Opcode::kFixedFdInstall);
  target(sqe);
}

bool ShutdownWrite::finish(int result, unsigned flags) noexcept {
  if (!through_ring_) {
    if ((result == -EMFILE || result == -ENFILE) && !cancel_requested()) {
      through_ring_ = true;
      submit();
      return false;
    }
    if (result >= 0) {
      const FileDescriptor installed(result);
      result = ::shutdown(installed.get(), SHUT_WR) == 0 ? 0 : -errno;
    }
  }
  return SocketOperation::finish(result, flags);
}

bool ToTable::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  invariant(socket_->in_flight_ == 0, "a socket moves when no operation is in flight",
            socket_->in_flight_);
  const bool moves = *socket_ && !socket_->in_table() && socket_->ring().table_size() > 0;
  if (*socket_ && !moves) return false;
  return SocketOperation::begin(awaiting, scope);
}

void ToTable::prepare(io_uring_sqe& sqe) noexcept {
  slot_ = socket_->index_;
  io_uring_prep_files_update(&sqe, &slot_, 1, 0);
  sqe.off = IORING_FILE_INDEX_ALLOC;
}

bool ToTable::finish(int result, unsigned flags) noexcept {
  if (result == 0) result = -ENFILE;
  if (result > 0) {
    ::close(socket_->index_);
    socket_->index_ = slot_;
    socket_->in_table_ = true;
    ring().slot_taken();
  }
  return SocketOperation::finish(result, flags);
}

bool Install::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, scope);
  if (scope != nullptr && scope->cancelled()) {
    result_ = -ECANCELED;
  } else {
    result_ = ::fcntl(socket_->descriptor(), F_DUPFD_CLOEXEC, 0);
    if (result_ < 0) result_ = -errno;
  }
  return false;
}

void Install::prepare(io_uring_sqe& sqe) noexcept {
  sqe.opcode =
      static_cast<std::uint8_t>(Opcode::kFixedFdInstall);  // O_CLOEXEC unless told otherwise
  target(sqe);
}

Result<FileDescriptor> Install::await_resume() noexcept {
  if (result_ < 0) return failure(result_);
  return FileDescriptor(result_);
}

bool CloseSocket::begin(std::coroutine_handle<> awaiting, CancelScope* /*scope*/) noexcept {
  invariant(socket_->in_flight_ == 0, "a socket is closed when no operation is in flight",
            socket_->in_flight_);
  if (!*socket_ || socket_->in_table()) return SocketOperation::begin(awaiting, nullptr);
  result_ = ::close(std::exchange(socket_->index_, -1)) == 0 ? 0 : -errno;
  return false;
}

void CloseSocket::prepare(io_uring_sqe& sqe) noexcept {
  io_uring_prep_close_direct(&sqe, static_cast<unsigned>(socket_->index_));
}

bool CloseSocket::finish(int result, unsigned flags) noexcept {
  socket_->index_ = -1;
  socket_->in_table_ = false;
  ring().slot_freed();
  return SocketOperation::finish(result, flags);
}

}  // namespace sallyport::iouring
