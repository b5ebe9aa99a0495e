// sallyport-relay: a plaintext relay by epoll, recv and send, and nothing else. What it costs is
// the floor under every hop of bench/compare.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "bench/load/loop.h"

namespace sallyport::bench {
namespace {

std::vector<std::byte>& shared_buffer() {
  static std::vector<std::byte> buffer(64 << 10);
  return buffer;
}

/// One direction: what the receiver did not take waits here, and nothing more is read meanwhile.
class Direction {
 public:
  Direction(int from, int to) : from_(from), to_(to) {}

  bool ended() const { return ended_; }

  /// False when either end is broken.
  bool move() {
    while (!ended_) {
      if (!waiting_.empty()) {
        const ssize_t sent = ::send(to_, waiting_.data(), waiting_.size(), MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN;
        waiting_.erase(waiting_.begin(), waiting_.begin() + sent);
        if (!waiting_.empty()) return true;
      }
      auto& buffer = shared_buffer();
      const ssize_t count = ::recv(from_, buffer.data(), buffer.size(), 0);
      if (count < 0) return errno == EAGAIN;
      if (count == 0) {
        ended_ = true;
        return ::shutdown(to_, SHUT_WR) == 0;
      }
      ssize_t sent = ::send(to_, buffer.data(), static_cast<size_t>(count), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return false;
      sent = sent < 0 ? 0 : sent;
      waiting_.assign(buffer.begin() + sent, buffer.begin() + count);
    }
    return true;
  }

 private:
  int from_, to_;
  std::vector<std::byte> waiting_;
  bool ended_ = false;
};

class Relayed {
 public:
  Relayed(Loop& loop, Fd client, Fd backend)
      : client_(std::move(client)),
        backend_(std::move(backend)),
        up_(client_.get(), backend_.get()),
        down_(backend_.get(), client_.get()),
        client_end_(*this),
        backend_end_(*this) {
    loop.watch(client_.get(), client_end_);
    loop.watch(backend_.get(), backend_end_);
  }

  bool over() const { return over_; }

 private:
  struct End final : Watched {
    explicit End(Relayed& relayed) : owner(relayed) {}
    void ready(uint32_t) override { owner.move(); }
    Relayed& owner;
  };

  // Closed here, deleted once the turn is over: the other end may have an event in the same turn.
  void move() {
    if (over_ || (up_.move() && down_.move() && !(up_.ended() && down_.ended()))) return;
    over_ = true;
    client_.reset();
    backend_.reset();
  }

  Fd client_, backend_;
  Direction up_, down_;
  End client_end_, backend_end_;
  bool over_ = false;
};

sockaddr_in loopback(const char* port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

class Acceptor final : public Watched {
 public:
  Acceptor(Loop& loop, const sockaddr_in& listen, const sockaddr_in& backend)
      : loop_(loop), backend_(backend), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    const int one = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&listen), sizeof listen) != 0 ||
        ::listen(socket_.get(), 4096) != 0) {
      die("listen");
    }
    loop_.watch(socket_.get(), *this);
  }

  void ready(uint32_t) override {
    for (;;) {
      Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!client) return;
      Fd backend(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      const int one = 1;
      ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      ::setsockopt(backend.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      if (::connect(backend.get(), reinterpret_cast<const sockaddr*>(&backend_), sizeof backend_) !=
              0 &&
          errno != EINPROGRESS) {
        continue;
      }
      relayed_.push_back(std::make_unique<Relayed>(loop_, std::move(client), std::move(backend)));
    }
  }

  /// Deletes what ended, when that is worth a pass over all.
  void sweep() {
    if (relayed_.size() < sweep_at_) return;
    std::erase_if(relayed_, [](const auto& relayed) { return relayed->over(); });
    sweep_at_ = 2 * relayed_.size() + 64;
  }

 private:
  Loop& loop_;
  sockaddr_in backend_;
  Fd socket_;
  std::vector<std::unique_ptr<Relayed>> relayed_;
  size_t sweep_at_ = 64;
};

}  // namespace
}  // namespace sallyport::bench

int main(int argc, char** argv) {
  using namespace sallyport::bench;
  if (argc != 3) {
    std::fprintf(stderr, "usage: sallyport-relay PORT BACKEND_PORT\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  Loop loop;
  Acceptor acceptor(loop, loopback(argv[1]), loopback(argv[2]));
  for (;;) {
    loop.turn(Clock::now() + std::chrono::hours(1));
    acceptor.sweep();
  }
}
