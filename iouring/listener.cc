#include "iouring/listener.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

namespace sallyport::iouring {

namespace {

// Far more than the kernel needs for a packet.
constexpr std::chrono::milliseconds kPacketTime{1};

bool is_exhaustion(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// Errors of the new connection, not of the listener (accept(2)).
bool is_connection_error(int error) noexcept {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EAGAIN:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EOPNOTSUPP:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

int enable(int fd, int level, int name) noexcept {
  const int on = 1;
  return ::setsockopt(fd, level, name, &on, sizeof on);
}

}  // namespace

class Listener::Multishot final : public Operation {
 public:
  explicit Multishot(Listener& listener) noexcept
      : Operation(listener.ring_), listener_(&listener) {}
  void arm() noexcept { submit_again(); }
  void cancel() noexcept { on_cancel(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override {
    // No address: a multishot accept writes each peer's address to the same place. No
    // SOCK_NONBLOCK: the ring would report EAGAIN instead of waiting.
    io_uring_prep_multishot_accept(&sqe, listener_->socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
  }
  bool finish(int result, unsigned flags) noexcept override {
    if (result >= 0) listener_->accepted(result);
    if ((flags & IORING_CQE_F_MORE) == 0) listener_->ended(result);
    return false;
  }
  Listener* listener_;
};

class Listener::Pause final : public Timer {
 public:
  explicit Pause(Listener& listener) noexcept : listener_(&listener) {}

 private:
  void on_expiry() noexcept override { listener_->arm(); }
  Listener* listener_;
};

// Waits for the last completion of the multishot accept. Not cancelled.
class Listener::StopWaiter final : private Waiter {
 public:
  explicit StopWaiter(Listener& listener) noexcept : listener_(&listener) {}
  bool await_ready() const noexcept { return !listener_->multishot_->in_flight(); }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept {
    awaiting_ = awaiting;
    listener_->stop_waiter_ = this;
  }
  void await_resume() const noexcept {}
  void wake() noexcept { listener_->ring_->make_ready(*this); }

 private:
  void on_cancel() noexcept override {}
  void on_ready() noexcept override { awaiting_.resume(); }
  Listener* listener_;
  std::coroutine_handle<> awaiting_;
};

Listener::Listener(Ring& ring, FileDescriptor socket) noexcept
    : ring_(&ring),
      socket_(std::move(socket)),
      multishot_(std::make_unique<Multishot>(*this)),
      pause_(std::make_unique<Pause>(*this)) {}

Listener::~Listener() {
  invariant(waiting_ == nullptr && stop_waiter_ == nullptr, "a listener outlives its waiters");
  invariant(!multishot_->in_flight(), "a listener is stopped before it is destroyed");
}

Result<std::unique_ptr<Listener>> Listener::bind(Ring& ring, const SocketAddress& address,
                                                 ListenOptions options) {
  FileDescriptor fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return failure(errno);
  const bool tcp = !address.is_unix();
  if (tcp && enable(fd.get(), SOL_SOCKET, SO_REUSEADDR) != 0) return failure(errno);
  if (tcp && options.reuse_port && enable(fd.get(), SOL_SOCKET, SO_REUSEPORT) != 0)
    return failure(errno);
  if (address.family() == AF_INET6 && enable(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY) != 0)
    return failure(errno);
  if (::bind(fd.get(), address.data(), address.size()) != 0) return failure(errno);
  auto listener = adopt(ring, std::move(fd));
  if (listener) (*listener)->shared_ = tcp && options.reuse_port;
  return listener;
}

Result<std::unique_ptr<Listener>> Listener::adopt(Ring& ring, FileDescriptor bound) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return failure(errno);
  std::unique_ptr<Listener> listener(new Listener(ring, std::move(bound)));
  listener->address_ = SocketAddress(reinterpret_cast<const sockaddr*>(&storage), size);
  return listener;
}

Result<> Listener::listen() noexcept {
  if (::listen(socket_.get(), kBacklog) != 0) return failure(errno);
  listening_ = true;
  if (waiting_ != nullptr) arm();
  return {};
}

Result<> Listener::share_port() noexcept {
  if (enable(socket_.get(), SOL_SOCKET, SO_REUSEPORT) != 0) return failure(errno);
  shared_ = !address_.is_unix();
  return {};
}

// Arms the multishot accept unless it is armed or must not be.
void Listener::arm() noexcept {
  if (!listening_ || stopping_ || error_ != 0 || multishot_->in_flight() || pause_->armed() ||
      queue_.size() >= kMaxQueued)
    return;
  multishot_->arm();
}

void Listener::accepted(int fd) noexcept {
  next_pause_ = kFirstPause;
  queue_.emplace_back(fd);
  wake();
  if (queue_.size() >= kMaxQueued && multishot_->in_flight()) multishot_->cancel();
}

void Listener::ended(int result) noexcept {
  if (stopping_) {
    if (stop_waiter_ != nullptr) std::exchange(stop_waiter_, nullptr)->wake();
    return;
  }
  // ECANCELED: the queue was full; the accept() that finds it empty arms again.
  const int error = result < 0 ? -result : 0;
  if (is_exhaustion(error)) {
    ++exhausted_;
    ring_->timers().arm(*pause_, ring_->now() + next_pause_);
    next_pause_ = std::min(next_pause_ * 2, kLastPause);
  } else if (error == 0 || error == ECANCELED || is_connection_error(error)) {
    arm();
  } else {
    error_ = error;
    take_backlog();
    socket_.close();
    wake();
  }
}

void Listener::wake() noexcept {
  if (waiting_ == nullptr) return;
  Accept& accept = *std::exchange(waiting_, nullptr);
  accept.unlink();
  ring_->make_ready(accept);
}

Task<void> Listener::stop() {
  invariant(!stopping_, "a listener is stopped once");
  stopping_ = true;
  ring_->timers().disarm(*pause_);
  if (shared_) {
    // The kernel looks whether this socket listens, makes the connection, and resets it when the
    // socket was closed in between, net.ipv4.tcp_migrate_req or not. So no handshake may end now.
    drop_all_but_syn();
    [[maybe_unused]] Result<> slept = co_await sleep_for(*ring_, kPacketTime);
  }
  if (multishot_->in_flight()) {
    multishot_->cancel();
    co_await StopWaiter(*this);
  }
  take_backlog();
  socket_.close();
  wake();
}

// What is dropped here is sent again by the client, within 200 ms as a rule. Should the filter be
// refused (memory), then the kernel's race remains, and nothing else is lost.
void Listener::drop_all_but_syn() noexcept {
  constexpr std::uint32_t kFlags = 13;  // of a TCP header, where the filter's packet begins
  constexpr std::uint32_t kSyn = 0x02;
  sock_filter only_syn[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kSyn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),  // takes it whole
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{.len = std::size(only_syn), .filter = only_syn};
  (void)::setsockopt(socket_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void Listener::take_backlog() noexcept {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
  for (;;) {
    const int fd = ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) {
      queue_.emplace_back(fd);
      continue;
    }
    if (errno == EAGAIN || !is_connection_error(errno)) break;
  }
}

bool Accept::start(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  Listener& listener = *listener_;
  invariant(listener.waiting_ == nullptr, "one accept() waits at a time");
  cancelled_ = scope != nullptr && scope->cancelled();
  // While the listener is being stopped, stop() may still take connections out of the backlog, so
  // that accept() waits until the descriptor is closed.
  if (cancelled_ || !listener.queue_.empty() || listener.error_ != 0 || !listener.socket_)
    return false;
  awaiting_ = awaiting;
  if (scope != nullptr) scope->add(*this);
  listener.waiting_ = this;
  listener.arm();
  return true;
}

void Accept::on_cancel() noexcept {
  listener_->waiting_ = nullptr;
  cancelled_ = true;
  listener_->ring_->make_ready(*this);
}

void Accept::on_ready() noexcept {
  awaiting_.resume();
}

Result<Socket> Accept::await_resume() noexcept {
  if (cancelled_) return failure(ECANCELED);
  Listener& listener = *listener_;
  if (!listener.queue_.empty()) {
    Socket socket(*listener.ring_, std::move(listener.queue_.front()));
    listener.queue_.pop_front();
    return socket;
  }
  return failure(listener.error_ != 0 ? listener.error_ : ESHUTDOWN);
}

}  // namespace sallyport::iouring
