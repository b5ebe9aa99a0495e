#pragma once
// Accepting connections: one multishot accept, armed again after descriptor exhaustion.
#include <chrono>
#include <coroutine>
#include <deque>
#include <memory>

#include "iouring/address.h"
#include "iouring/deadline.h"
#include "iouring/operation.h"
#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::iouring {

struct ListenOptions {
  /// Bind beside other sockets of this user that share the address already (SO_REUSEPORT,
  /// socket(7)); TCP only. Without it a listener anywhere on the machine makes bind() fail.
  bool reuse_port = false;
};

class Accept;

/// The multishot accept starts with listen() and the first accept(), and ends with stop(). After
/// EMFILE, ENFILE, ENOBUFS or ENOMEM it is armed again after a pause of 10 ms, which doubles up to
/// 1 s; meanwhile connections wait in the backlog. One accept() at a time. stop() comes before
/// destruction, unless accept() was never awaited.
class Listener {
 public:
  /// Binds; no client gets here before listen(). SO_REUSEADDR is set, and IPV6_V6ONLY: [::] takes
  /// no IPv4. Errors: bind(2)'s. Port 0 takes any, see address().
  [[nodiscard]] static Result<std::unique_ptr<Listener>> bind(Ring& ring,
                                                              const SocketAddress& address,
                                                              ListenOptions options = {});
  /// Takes a socket that is bound, and may listen already: clients then wait for listen(). Other
  /// listeners may have duplicates of it: each client gets to one of them. Errors:
  /// getsockname(2)'s.
  [[nodiscard]] static Result<std::unique_ptr<Listener>> adopt(Ring& ring, FileDescriptor bound);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// Listens: from here on the kernel takes clients, and accept() returns them. Sockets that are
  /// bound to one address, as SO_REUSEADDR allows, exclude each other here: the second one gets
  /// EADDRINUSE unless both have shared the port. Errors: listen(2)'s.
  [[nodiscard]] Result<> listen() noexcept;

  /// Sets SO_REUSEPORT, before listen() or after it: further sockets of this user that have it may
  /// listen on the address, too, and the kernel spreads the clients. A socket that sets it after
  /// listen() was the only one at that moment.
  [[nodiscard]] Result<> share_port() noexcept;

  /// For setsockopt(2): accepted sockets inherit what is set here. -1 once stopped.
  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }
  /// The address that it listens on, with the port that the kernel chose.
  [[nodiscard]] const SocketAddress& address() const noexcept { return address_; }

  /// -> Result<Socket>: the next connection, an ordinary descriptor (close-on-exec); waits for
  /// listen() as well. ESHUTDOWN once the listener is stopped and its queue empty; ECANCELED; any
  /// other error is permanent, and the listening descriptor is closed by then: connections would
  /// wait in its backlog for nothing, and on a shared port go to the other listeners now.
  /// Descriptor exhaustion is not reported here but counted by exhausted().
  [[nodiscard]] Accept accept() noexcept;

  /// Stops accepting without losing a connection: cancels the multishot accept, then takes the
  /// connections in the backlog (closing a SO_REUSEPORT listener would reset them) and closes the
  /// listening descriptor. accept() returns those, then ESHUTDOWN. Runs to its end even in a
  /// cancelled scope. On a shared port no TCP handshake ends at this socket any more: where
  /// net.ipv4.tcp_migrate_req is 1, those under way end at the others.
  [[nodiscard]] Task<void> stop();

  /// How often accepting failed for lack of descriptors or memory.
  [[nodiscard]] std::uint64_t exhausted() const noexcept { return exhausted_; }
  [[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }

  /// Connections that the kernel queues before they are accepted; capped by net.core.somaxconn.
  static constexpr int kBacklog = 4096;
  static constexpr std::chrono::milliseconds kFirstPause{10};
  static constexpr std::chrono::milliseconds kLastPause{1000};
  /// At so many queued connections accepting pauses; further ones wait in the backlog.
  static constexpr std::size_t kMaxQueued = 1024;

 private:
  friend class Accept;
  class Multishot;
  class Pause;
  class StopWaiter;

  Listener(Ring& ring, FileDescriptor socket) noexcept;
  void arm() noexcept;
  void accepted(int fd) noexcept;
  void ended(int result) noexcept;
  void wake() noexcept;
  void take_backlog() noexcept;
  void drop_all_but_syn() noexcept;

  Ring* ring_;
  FileDescriptor socket_;
  SocketAddress address_;
  std::deque<FileDescriptor> queue_;
  std::unique_ptr<Multishot> multishot_;
  std::unique_ptr<Pause> pause_;
  Accept* waiting_ = nullptr;
  StopWaiter* stop_waiter_ = nullptr;
  std::chrono::milliseconds next_pause_ = kFirstPause;
  std::uint64_t exhausted_ = 0;
  int error_ = 0;        // permanent
  bool shared_ = false;  // with SO_REUSEPORT, over TCP
  bool listening_ = false;
  bool stopping_ = false;
};

class [[nodiscard]] Accept final : private Waiter {
 public:
  explicit Accept(Listener& listener) noexcept : listener_(&listener) {}
  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) noexcept {
    return start(awaiting, scope_of(awaiting));
  }
  Result<Socket> await_resume() noexcept;

 private:
  friend class Listener;
  bool start(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept;
  void on_cancel() noexcept override;
  void on_ready() noexcept override;

  Listener* listener_;
  std::coroutine_handle<> awaiting_;
  bool cancelled_ = false;
};

inline Accept Listener::accept() noexcept {
  return Accept(*this);
}

}  // namespace sallyport::iouring
