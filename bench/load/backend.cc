// sallyport-backend: the plaintext service behind the gateway under test. The first byte of a
// connection says what it does:
//   E  echo everything, this byte included
//   S  send so many bytes, in writes of so many
//   K  take so many bytes, then answer with one K
//   R  answer each block of so many bytes with one of the same size
// A number is 8 bytes, least significant first.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "bench/load/loop.h"

namespace sallyport::bench {
namespace {

struct Buffers {
  std::vector<std::byte> in = std::vector<std::byte>(256 << 10);
  std::vector<std::byte> out = std::vector<std::byte>(256 << 10, std::byte{'R'});
};

/// Deletes itself when its peer is gone.
class Served final : public Watched {
 public:
  Served(Fd socket, Buffers& buffers) : socket_(std::move(socket)), buffers_(buffers) {}

  void ready(uint32_t events) override {
    if (!receive((events & EPOLLRDHUP) != 0) || !send()) delete this;
  }

 private:
  /// False when the connection is over.
  bool receive(bool ends) {
    for (;;) {
      // What is thrown away need not be copied out of the kernel.
      const bool discard = command_ == 'K' && have_numbers();
      const ssize_t count =
          ::recv(socket_.get(), buffers_.in.data(), buffers_.in.size(), discard ? MSG_TRUNC : 0);
      if (count == 0) return false;
      if (count < 0) return errno == EAGAIN;
      if (discard) {
        discard_bytes(static_cast<uint64_t>(count));
      } else {
        take(std::span(buffers_.in).first(static_cast<size_t>(count)));
      }
      if (!send()) return false;
      // Less than asked for: the queue is empty, and what comes next makes a new edge. A FIN that
      // was in this edge does not.
      if (!ends && static_cast<size_t>(count) < buffers_.in.size()) return true;
    }
  }

  size_t numbers_of_command() const {
    switch (command_) {
      case 'S':
        return 2;
      case 'K':
      case 'R':
        return 1;
      default:
        return 0;
    }
  }
  bool have_numbers() const { return header_ == 8 * numbers_of_command(); }

  /// Takes what belongs to the command off the front of `bytes`.
  void take_command(std::span<const std::byte>& bytes) {
    if (command_ == 0) {
      command_ = static_cast<char>(bytes[0]);
      if (numbers_of_command() == 0) {
        // The echo of bytes whose content is not checked, except that one E comes back as an E.
        command_ = 'E';
        return;
      }
      bytes = bytes.subspan(1);
    }
    while (!bytes.empty() && !have_numbers()) {
      numbers_[header_ / 8] |= static_cast<uint64_t>(bytes[0]) << (header_ % 8 * 8);
      ++header_;
      bytes = bytes.subspan(1);
      if (have_numbers()) begin();
    }
  }

  void begin() {
    if (command_ == 'S') {
      to_send_ = numbers_[0];
      write_size_ = std::max<uint64_t>(1, std::min<uint64_t>(numbers_[1], buffers_.out.size()));
    }
    if (command_ == 'R') numbers_[0] = std::max<uint64_t>(1, numbers_[0]);
  }

  void discard_bytes(uint64_t count) {
    numbers_[0] -= std::min(numbers_[0], count);
    to_send_ = numbers_[0] == 0 ? 1 : 0;
  }

  void take(std::span<const std::byte> bytes) {
    take_command(bytes);
    if (bytes.empty() || !have_numbers()) return;
    if (command_ == 'K') {
      discard_bytes(bytes.size());
    } else if (command_ == 'R') {
      received_ += bytes.size();
      to_send_ += received_ / numbers_[0] * numbers_[0];
      received_ %= numbers_[0];
    } else if (command_ == 'E') {
      to_send_ += bytes.size();
    }
  }

  bool send() {
    std::array<std::byte, 64> letters;
    while (to_send_ > 0) {
      const bool letter = command_ == 'E' || command_ == 'K';
      if (letter) letters.fill(static_cast<std::byte>(command_));
      const std::span<const std::byte> from =
          letter ? std::span<const std::byte>(letters) : std::span<const std::byte>(buffers_.out);
      const uint64_t most = std::min<uint64_t>(from.size(), write_size_);
      const ssize_t count =
          ::send(socket_.get(), from.data(), std::min(most, to_send_), MSG_NOSIGNAL);
      if (count < 0) return errno == EAGAIN;
      to_send_ -= static_cast<uint64_t>(count);
    }
    return true;
  }

  Fd socket_;
  Buffers& buffers_;
  char command_ = 0;
  unsigned header_ = 0;
  std::array<uint64_t, 2> numbers_{};
  uint64_t write_size_ = 256 << 10;
  uint64_t received_ = 0;
  uint64_t to_send_ = 0;
};

class Acceptor final : public Watched {
 public:
  Acceptor(Loop& loop, in_addr_t on, uint16_t port, Buffers& buffers)
      : loop_(loop), buffers_(buffers), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    const int one = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(on);
    if (::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket_.get(), 4096) != 0) {
      die("listen");
    }
    socklen_t length = sizeof address;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    std::printf("{\"port\": %u}\n", ntohs(address.sin_port));
    std::fflush(stdout);
    loop_.watch(socket_.get(), *this);
  }

  void ready(uint32_t) override {
    for (;;) {
      Fd accepted(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!accepted) {
        if (errno == EAGAIN || errno == ECONNABORTED) return;
        die("accept4");
      }
      const int one = 1;
      const int descriptor = accepted.get();
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      loop_.watch(descriptor, *new Served(std::move(accepted), buffers_));
    }
  }

 private:
  Loop& loop_;
  Buffers& buffers_;
  Fd socket_;
};

}  // namespace
}  // namespace sallyport::bench

int main(int argc, char** argv) {
  using namespace sallyport::bench;
  std::signal(SIGPIPE, SIG_IGN);
  in_addr_t on = INADDR_LOOPBACK;
  uint16_t port = 0;
  Buffers buffers;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--realtime") {
      const sched_param priority{.sched_priority = 1};
      if (::sched_setscheduler(0, SCHED_RR, &priority) != 0) std::perror("--realtime");
    } else if (flag == "--any-address") {
      on = INADDR_ANY;
    } else if (flag == "--port" && i + 1 < argc) {
      port = static_cast<uint16_t>(std::atoi(argv[++i]));
    } else {
      std::fprintf(stderr, "usage: sallyport-backend [--port N] [--any-address] [--realtime]\n");
      return 2;
    }
  }
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  Loop loop;
  Acceptor acceptor(loop, on, port, buffers);
  for (;;) loop.turn(Clock::now() + std::chrono::hours(1));
}
