#pragma once
// A socket with one owner, either an ordinary descriptor or a slot of the ring's registered table,
// and what can be awaited on it.
//
// All awaitables: errors are the kernel's errno; ECANCELED when the scope of the awaiting coroutine
// was cancelled (then nothing was transferred, except where said). Buffers, msghdr and the socket
// itself stay where they are until the await ends. Receives and sends may be in flight at the same
// time, one of each.
#include <sys/socket.h>
#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iouring/address.h"
#include "iouring/buffer_ring.h"
#include "iouring/file_descriptor.h"
#include "iouring/operation.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

class Recv;
class RecvLease;
class RecvMsg;
class SocketReady;
class SocketOption;
class Send;
class SendMsg;
class SendAll;
class SendAllVector;
class ShutdownWrite;
class ToTable;
class Install;
class CloseSocket;

/// Move-only, 16 bytes. Moving or destroying it with an operation in flight aborts. The destructor
/// closes without waiting.
class Socket {
 public:
  Socket() noexcept = default;
  /// Takes over an ordinary descriptor. It must not be O_NONBLOCK: the ring would report EAGAIN
  /// instead of waiting.
  Socket(Ring& ring, FileDescriptor descriptor) noexcept;
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  [[nodiscard]] explicit operator bool() const noexcept { return index_ >= 0; }
  [[nodiscard]] Ring& ring() const noexcept { return *ring_; }
  /// In the registered table: then it has no descriptor of its own.
  [[nodiscard]] bool in_table() const noexcept { return in_table_; }
  /// The ordinary descriptor, still owned; -1 in the table. For setsockopt(2) and the like.
  [[nodiscard]] int descriptor() const noexcept { return in_table_ ? -1 : index_; }
  /// Operations in flight.
  [[nodiscard]] unsigned in_flight() const noexcept { return in_flight_; }

  /// -> Result<std::size_t>, 0 at end of file (recv(2)).
  /// With MSG_DONTWAIT: EAGAIN when there is nothing.
  [[nodiscard]] Recv recv(std::span<std::byte> room, int flags = 0) noexcept;
  /// -> Result<Lease>: a buffer is picked when bytes have arrived; an empty lease is end of file.
  /// Waits for a buffer when there is none.
  [[nodiscard]] RecvLease recv(BufferRing& buffers) noexcept;
  /// -> Result<std::size_t>: control data in `message` (recvmsg(2)).
  [[nodiscard]] RecvMsg recvmsg(msghdr& message, int flags = 0) noexcept;
  /// After a receive: the socket had more to read (bytes or an end of file), as far as the kernel
  /// tells. A hint, for choosing a bigger buffer.
  [[nodiscard]] bool more_waiting() const noexcept { return more_waiting_; }
  /// The next receive asks the socket before it polls, as if the last one might have left something
  /// behind: for sockets that poll(2) does not tell everything about.
  void distrust_poll() noexcept { emptied_ = false; }
  /// -> Result<>: waits for one of the events of poll(2), POLLIN or POLLOUT; errors and hang-ups
  /// end the wait too. Takes no buffer.
  [[nodiscard]] SocketReady ready(short events) noexcept;

  /// -> Result<std::size_t>: may be short. MSG_NOSIGNAL always.
  [[nodiscard]] Send send(std::span<const std::byte> bytes, int flags = 0) noexcept;
  [[nodiscard]] SendMsg sendmsg(const msghdr& message, int flags = 0) noexcept;
  /// -> Result<>: sends all of it. After an error, ECANCELED too, some unknown part was sent.
  /// `flags`: MSG_MORE, if something follows at once.
  [[nodiscard]] SendAll send_all(std::span<const std::byte> bytes, int flags = 0) noexcept;
  /// The same for at most IOV_MAX (1024) pieces. The iovecs are advanced over what was sent.
  [[nodiscard]] SendAllVector send_all(std::span<iovec> pieces) noexcept;

  /// -> Result<>: FIN (SHUT_WR). In the table: FIXED_FD_INSTALL, shutdown(2), close(2); where there
  /// is no descriptor left for that, the ring's SHUTDOWN, which costs a worker thread.
  [[nodiscard]] ShutdownWrite shutdown_write() noexcept;

  /// -> Result<>: moves into the registered table and closes the ordinary descriptor. A full table
  /// gives ENFILE and leaves the socket as it was. Without a table (Ring::table_size() 0: none
  /// asked for, or kernel before 6.8) succeeds without moving. No operation may be in flight.
  [[nodiscard]] ToTable to_table() noexcept;
  /// -> Result<FileDescriptor>: another descriptor for the same connection (FIXED_FD_INSTALL; dup
  /// of an ordinary one), close-on-exec; the socket itself stays as it is. EMFILE when there is no
  /// descriptor left.
  [[nodiscard]] Install install() noexcept;

  /// -> Result<>: setsockopt(2), in the table too. `value` stays alive until then. Done even in a
  /// cancelled scope: a key that is half changed is of no use.
  [[nodiscard]] SocketOption set_option(int level, int name,
                                        std::span<const std::byte> value) noexcept;
  /// -> Result<>: takes SO_ERROR away, which would fail the next send, in the table too. Done even
  /// in a cancelled scope.
  [[nodiscard]] SocketOption clear_error() noexcept;

  /// -> Result<>: closes; done even in a cancelled scope. The socket is empty afterwards.
  [[nodiscard]] CloseSocket close() noexcept;
  /// Closes at once with a reset (RST) instead of a FIN, dropping what was not sent yet. Does not
  /// wait.
  void reset() noexcept;

  // Of ordinary descriptors; EOPNOTSUPP in the table.
  [[nodiscard]] Result<> set_option(int level, int name, int value) noexcept;
  [[nodiscard]] Result<int> get_option(int level, int name) const noexcept;
  [[nodiscard]] Result<SocketAddress> local_address() const noexcept;
  [[nodiscard]] Result<SocketAddress> peer_address() const noexcept;
  /// Gives the ordinary descriptor away; the socket is empty afterwards. EOPNOTSUPP in the table.
  [[nodiscard]] Result<FileDescriptor> release() noexcept;

 private:
  friend class SocketOperation;
  friend class ReceiveOperation;
  friend class ToTable;
  friend class CloseSocket;
  void dispose(bool abortive) noexcept;

  Ring* ring_ = nullptr;
  int index_ = -1;  // descriptor or slot
  std::uint8_t in_flight_ = 0;
  bool in_table_ = false;
  bool more_waiting_ = false;
  bool emptied_ = false;  // the last receive left nothing behind
};

/// Counts itself on the socket while it is in flight.
class SocketOperation : public Operation {
 protected:
  explicit SocketOperation(Socket& socket) noexcept;
  ~SocketOperation() = default;
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  void on_ready() noexcept override;
  /// Sets descriptor and flags of the entry.
  void target(io_uring_sqe& sqe) const noexcept;
  [[nodiscard]] Result<std::size_t> count_or_error() const noexcept;
  [[nodiscard]] Result<> done_or_error() const noexcept;

  Socket* socket_;
};

/// A receive polls first when the last one emptied the socket, and tries at once otherwise.
class ReceiveOperation : public SocketOperation {
 protected:
  using SocketOperation::SocketOperation;
  ~ReceiveOperation() = default;
  void poll_first(io_uring_sqe& sqe) const noexcept;
  void note_more(int result, unsigned flags, std::size_t room) noexcept;
};

class [[nodiscard]] Recv final : public ReceiveOperation {
 public:
  Recv(Socket& socket, std::span<std::byte> room, int flags) noexcept
      : ReceiveOperation(socket), room_(room), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  std::span<std::byte> room_;
  int flags_;
};

class [[nodiscard]] RecvLease final : public ReceiveOperation {
 public:
  RecvLease(Socket& socket, BufferRing& buffers) noexcept
      : ReceiveOperation(socket), buffers_(&buffers) {}
  ~RecvLease();
  Result<Lease> await_resume() noexcept;

 private:
  friend class BufferRing;
  /// Links into the queue for a buffer, beside the link into the scope.
  struct InQueue : ListNode {
    explicit InQueue(RecvLease* owner) noexcept : receive(owner) {}
    RecvLease* receive;
  };
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  void on_cancel() noexcept override;
  void buffer_may_be_free() noexcept;

  BufferRing* buffers_;
  InQueue in_queue_{this};
  Lease lease_;
  bool waited_ = false;
};

class [[nodiscard]] RecvMsg final : public ReceiveOperation {
 public:
  RecvMsg(Socket& socket, msghdr& message, int flags) noexcept
      : ReceiveOperation(socket), message_(&message), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  msghdr* message_;
  int flags_;
};

class [[nodiscard]] SocketReady final : public SocketOperation {
 public:
  SocketReady(Socket& socket, short events) noexcept : SocketOperation(socket), events_(events) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  short events_;
};

class [[nodiscard]] SocketOption final : public SocketOperation {
 public:
  /// Without a value SO_ERROR is read, and thereby cleared.
  SocketOption(Socket& socket, int level, int name, std::span<const std::byte> value) noexcept
      : SocketOperation(socket), level_(level), name_(name), value_(value) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  int level_;
  int name_;
  std::span<const std::byte> value_;
  int error_ = 0;
};

class [[nodiscard]] Send final : public SocketOperation {
 public:
  Send(Socket& socket, std::span<const std::byte> bytes, int flags) noexcept
      : SocketOperation(socket), bytes_(bytes), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  std::span<const std::byte> bytes_;
  int flags_;
};

class [[nodiscard]] SendMsg final : public SocketOperation {
 public:
  SendMsg(Socket& socket, const msghdr& message, int flags) noexcept
      : SocketOperation(socket), message_(&message), flags_(flags) {}
  Result<std::size_t> await_resume() const noexcept { return count_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override;
  const msghdr* message_;
  int flags_;
};

class [[nodiscard]] SendAll final : public SocketOperation {
 public:
  SendAll(Socket& socket, std::span<const std::byte> bytes, int flags) noexcept
      : SocketOperation(socket), rest_(bytes), flags_(flags) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  std::span<const std::byte> rest_;
  int flags_;
};

class [[nodiscard]] SendAllVector final : public SocketOperation {
 public:
  SendAllVector(Socket& socket, std::span<iovec> pieces) noexcept
      : SocketOperation(socket), rest_(pieces) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  void skip(std::size_t sent) noexcept;
  std::span<iovec> rest_;
  msghdr message_{};
};

class [[nodiscard]] ShutdownWrite final : public SocketOperation {
 public:
  explicit ShutdownWrite(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  bool through_ring_ = false;
};

class [[nodiscard]] ToTable final : public SocketOperation {
 public:
  explicit ToTable(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  int slot_ = -1;  // in: the descriptor, out: its slot
};

class [[nodiscard]] Install final : public SocketOperation {
 public:
  explicit Install(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<FileDescriptor> await_resume() noexcept;

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
};

class [[nodiscard]] CloseSocket final : public SocketOperation {
 public:
  explicit CloseSocket(Socket& socket) noexcept : SocketOperation(socket) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept override;
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
};

inline Recv Socket::recv(std::span<std::byte> room, int flags) noexcept {
  return {*this, room, flags};
}
inline RecvLease Socket::recv(BufferRing& buffers) noexcept {
  return {*this, buffers};
}
inline RecvMsg Socket::recvmsg(msghdr& message, int flags) noexcept {
  return {*this, message, flags};
}
inline SocketReady Socket::ready(short events) noexcept {
  return {*this, events};
}
inline SocketOption Socket::set_option(int level, int name,
                                       std::span<const std::byte> value) noexcept {
  return {*this, level, name, value};
}
inline SocketOption Socket::clear_error() noexcept {
  return {*this, SOL_SOCKET, SO_ERROR, {}};
}
inline Send Socket::send(std::span<const std::byte> bytes, int flags) noexcept {
  return {*this, bytes, flags};
}
inline SendMsg Socket::sendmsg(const msghdr& message, int flags) noexcept {
  return {*this, message, flags};
}
inline SendAll Socket::send_all(std::span<const std::byte> bytes, int flags) noexcept {
  return {*this, bytes, flags};
}
inline SendAllVector Socket::send_all(std::span<iovec> pieces) noexcept {
  return {*this, pieces};
}
inline ShutdownWrite Socket::shutdown_write() noexcept {
  return ShutdownWrite(*this);
}
inline ToTable Socket::to_table() noexcept {
  return ToTable(*this);
}
inline Install Socket::install() noexcept {
  return Install(*this);
}
inline CloseSocket Socket::close() noexcept {
  return CloseSocket(*this);
}

/// Connects a stream socket (TCP over IPv4 or IPv6, unix). Errors: connect(2)'s, socket(2)'s
/// (EMFILE), ECANCELED. A connection that was established as the scope was cancelled is delivered.
[[nodiscard]] Task<Result<Socket>> connect(Ring& ring, SocketAddress address);

}  // namespace sallyport::iouring
