#pragma once
// A socket with one owner, either an ordinary descriptor or a slot of the ring's registered table.
//
// Operations are awaited: `Result<std::size_t> received = co_await socket.recv(room);`. Each has a
// header of its own (recv.h, send.h, ...), which this one includes.
//
// Errors of all operations: the kernel's errno; ECANCELED when the scope of the awaiting coroutine
// was cancelled (then nothing was transferred, except where said); EBADF on an empty socket.
// Buffers, msghdr and the socket itself stay where they are until the await ends. One receive and
// one send may be in flight at the same time.
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "iouring/address.h"
#include "iouring/descriptor_table.h"
#include "iouring/file_descriptor.h"
#include "iouring/poll.h"
#include "iouring/recv.h"
#include "iouring/recv_lease.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/send.h"
#include "iouring/shutdown.h"
#include "iouring/socket_option.h"

namespace sallyport::iouring {

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
  /// In the registered table; the socket then has no ordinary descriptor.
  [[nodiscard]] bool in_table() const noexcept { return in_table_; }
  /// The ordinary descriptor, still owned; -1 in the table. For setsockopt(2) and the like.
  [[nodiscard]] int descriptor() const noexcept { return in_table_ ? -1 : index_; }
  /// Operations in flight.
  [[nodiscard]] unsigned in_flight() const noexcept { return in_flight_; }

  /// -> Result<std::size_t>, 0 at end of file (recv(2)).
  /// With MSG_DONTWAIT: EAGAIN when there is nothing to receive.
  [[nodiscard]] Recv recv(std::span<std::byte> room, int flags = 0) noexcept {
    return {*this, room, flags};
  }
  /// -> Result<Lease>: the kernel picks a buffer when bytes have arrived; an empty lease is end of
  /// file. Waits for a buffer when none is free.
  [[nodiscard]] RecvLease recv(BufferRing& buffers) noexcept { return {*this, buffers}; }
  /// -> Result<std::size_t>: bytes and control data in `message` (recvmsg(2)).
  [[nodiscard]] RecvMsg recvmsg(msghdr& message, int flags = 0) noexcept {
    return {*this, message, flags};
  }
  /// After a receive: whether the socket had more to read (bytes or an end of file), as far as the
  /// kernel tells. A hint, for the choice of a bigger buffer.
  [[nodiscard]] bool more_waiting() const noexcept { return more_waiting_; }
  /// The next receive tries before it polls, as if the last one had not emptied the socket: for
  /// sockets that poll(2) does not tell everything about.
  void skip_poll_first() noexcept { emptied_ = false; }
  /// -> Result<>: waits for an event of poll(2), POLLIN or POLLOUT; an error or a hang-up ends the
  /// wait too. Takes no buffer.
  [[nodiscard]] SocketReady ready(short events) noexcept { return {*this, events}; }

  /// -> Result<std::size_t>: may send less than all. MSG_NOSIGNAL is always set, as in all sends.
  [[nodiscard]] Send send(std::span<const std::byte> bytes, int flags = 0) noexcept {
    return {*this, bytes, flags};
  }
  [[nodiscard]] SendMsg sendmsg(const msghdr& message, int flags = 0) noexcept {
    return {*this, message, flags};
  }
  /// -> Result<>: sends all bytes. After an error, also ECANCELED, an unknown part was sent.
  /// `flags`: MSG_MORE, if something follows at once.
  [[nodiscard]] SendAll send_all(std::span<const std::byte> bytes, int flags = 0) noexcept {
    return {*this, bytes, flags};
  }
  /// -> Result<>: likewise for at most IOV_MAX (1024) pieces. Advances the iovecs over what was
  /// sent.
  [[nodiscard]] SendAllVector send_all(std::span<iovec> pieces) noexcept { return {*this, pieces}; }

  /// -> Result<>: sends a FIN (SHUT_WR). In the table: FIXED_FD_INSTALL, shutdown(2), close(2);
  /// when no descriptor is left for that, IORING_OP_SHUTDOWN, which takes a worker thread.
  [[nodiscard]] ShutdownWrite shutdown_write() noexcept { return ShutdownWrite(*this); }

  /// -> Result<>: moves into the registered table and closes the ordinary descriptor. A full table
  /// gives ENFILE and leaves the socket as it was. Without a table (Ring::table_size() 0: none
  /// asked for, or kernel before 6.8) succeeds without moving. No operation may be in flight.
  [[nodiscard]] ToTable to_table() noexcept { return ToTable(*this); }
  /// -> Result<FileDescriptor>: another descriptor for the same connection (FIXED_FD_INSTALL; dup
  /// of an ordinary one), close-on-exec; the socket itself stays as it is. EMFILE when there is no
  /// descriptor left.
  [[nodiscard]] Install install() noexcept { return Install(*this); }

  /// -> Result<>: setsockopt(2), in the table too. `value` stays alive until then. Done even in a
  /// cancelled scope: a change of keys must not stop half-way.
  [[nodiscard]] SocketOption set_option(int level, int name,
                                        std::span<const std::byte> value) noexcept {
    return {*this, level, name, value};
  }
  /// -> Result<>: clears SO_ERROR, which would fail the next send; in the table too. Done even in a
  /// cancelled scope.
  [[nodiscard]] SocketOption clear_error() noexcept { return {*this, SOL_SOCKET, SO_ERROR, {}}; }

  /// Closes with a reset (RST) instead of a FIN and drops what was not sent yet. Does not wait. The
  /// socket is empty afterwards.
  void reset() noexcept;

  /// getpeername(2) of an ordinary descriptor; EOPNOTSUPP in the table.
  [[nodiscard]] Result<SocketAddress> peer_address() const noexcept;
  /// getsockname(2) of an ordinary descriptor; EOPNOTSUPP in the table.
  [[nodiscard]] Result<SocketAddress> local_address() const noexcept;

 private:
  friend class SocketOperation;
  friend class ReceiveOperation;
  friend class ToTable;
  /// Closes without waiting; `abortive` with a reset.
  void dispose(bool abortive) noexcept;
  using AskAddress = int (*)(int, sockaddr*, socklen_t*);
  [[nodiscard]] Result<SocketAddress> ask_address(AskAddress ask) const noexcept;

  Ring* ring_ = nullptr;
  int index_ = -1;  // descriptor, or slot of the table
  std::uint8_t in_flight_ = 0;
  bool in_table_ = false;
  bool more_waiting_ = false;
  bool emptied_ = false;  // the last receive left nothing behind
};

}  // namespace sallyport::iouring
