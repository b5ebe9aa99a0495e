#pragma once
// Accepting connections: one multishot accept, kept alive through descriptor exhaustion.
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
  /// Several listeners, one per shard, share the address (SO_REUSEPORT, socket(7)); TCP only.
  bool reuse_port = false;
};

class Accept;

/// A multishot accept starts with the first accept() and ends with stop(). After EMFILE, ENFILE,
/// ENOBUFS or ENOMEM it is armed again after a pause of 10 ms, doubling up to 1 s; connections wait
/// in the backlog meanwhile. One accept() at a time. Before it is destroyed: stop(), unless
/// accept() was never awaited.
class Listener {
 public:
  /// Binds and listens. SO_REUSEADDR is set, and IPV6_V6ONLY: [::] takes no IPv4. Errors: bind(2)'s
  /// and listen(2)'s. Port 0 takes any, see address().
  [[nodiscard]] static Result<std::unique_ptr<Listener>> bind(Ring& ring,
                                                              const SocketAddress& address,
                                                              ListenOptions options = {});
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// For setsockopt(2): what is set here is what accepted sockets begin with. -1 once stopped.
  [[nodiscard]] int descriptor() const noexcept { return listening_.get(); }
  /// Where it listens, with the port that the kernel chose.
  [[nodiscard]] const SocketAddress& address() const noexcept { return address_; }

  /// -> Result<Socket>: the next connection, an ordinary descriptor (close-on-exec). ESHUTDOWN once
  /// stopped and empty; ECANCELED; any other error is the listener's own and lasting. Running out
  /// of descriptors is not reported here but in exhausted().
  [[nodiscard]] Accept accept() noexcept;

  /// Ends accepting without losing a connection: cancels the multishot accept, then takes what the
  /// kernel had queued (closing a SO_REUSEPORT listener would reset it) and closes the listening
  /// descriptor. accept() goes on to return those, then ESHUTDOWN. Runs to its end even in a
  /// cancelled scope.
  [[nodiscard]] Task<void> stop();

  /// How often accepting ran out of descriptors or memory.
  [[nodiscard]] std::uint64_t exhausted() const noexcept { return exhausted_; }
  [[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }

  /// Connections that the kernel holds for us; capped by net.core.somaxconn.
  static constexpr int kBacklog = 4096;
  static constexpr std::chrono::milliseconds kFirstPause{10};
  static constexpr std::chrono::milliseconds kLastPause{1000};
  /// Accepting pauses while so many connections wait for accept(); they then wait in the backlog.
  static constexpr std::size_t kMaxQueued = 1024;

 private:
  friend class Accept;
  class Multishot;
  class Pause;
  class Ended;

  Listener(Ring& ring, FileDescriptor listening) noexcept;
  void arm() noexcept;
  void accepted(int fd) noexcept;
  void ended(int result) noexcept;
  void wake() noexcept;
  void take_backlog() noexcept;

  Ring* ring_;
  FileDescriptor listening_;
  SocketAddress address_;
  std::deque<FileDescriptor> queue_;
  std::unique_ptr<Multishot> multishot_;
  std::unique_ptr<Pause> pause_;
  Accept* waiting_ = nullptr;
  Ended* ended_ = nullptr;
  std::chrono::milliseconds next_pause_ = kFirstPause;
  std::uint64_t exhausted_ = 0;
  int error_ = 0;  // lasting
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
