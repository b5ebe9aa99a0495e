#include "bench/load/connection.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace sallyport::bench {
namespace {

Fd connect_to(Target& target) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) die("socket");
  const int one = 1;
  if (!target.nagle) ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (target.sources > 1) {
    // The port is chosen at connect, so that each source address has all of them.
    ::setsockopt(socket.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + target.next_source++ % target.sources);
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&source), sizeof source) != 0) die("bind");
  }
  const auto* address = reinterpret_cast<const sockaddr*>(&target.address);
  if (::connect(socket.get(), address, sizeof target.address) != 0 && errno != EINPROGRESS) {
    socket.reset();
  }
  return socket;
}

int pending_error(int socket) {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

}  // namespace

Target parse_target(const std::string& text) {
  Target target;
  const size_t colon = text.rfind(':');
  target.address.sin_family = AF_INET;
  errno = 0;
  if (colon == std::string::npos ||
      ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &target.address.sin_addr) != 1) {
    die("not an IPv4 address and port: " + text);
  }
  target.address.sin_port = htons(static_cast<uint16_t>(std::atoi(text.c_str() + colon + 1)));
  return target;
}

void Connection::open(TicketSlot* tickets) {
  socket_ = connect_to(context_.target);
  if (!socket_) die("connect");
  stream_ = context_.client.stream(socket_.get(), tickets);
  phase_ = Phase::kConnecting;
  context_.loop.watch(socket_.get(), *this);
}

void Connection::drop() {
  stream_.reset();
  socket_.reset();
  phase_ = Phase::kClosed;
}

void Connection::finish() {
  stream_->close_notify();
  ::shutdown(socket_.get(), SHUT_WR);
  phase_ = Phase::kFinishing;
}

void Connection::fail(const std::string& why) {
  context_.tally.error(why);
  drop();
  ended(false);
}

size_t Connection::write(std::span<const std::byte> plaintext) {
  size_t count = 0;
  const Io io = stream_->write(plaintext, count);
  return io == Io::kDone ? count : 0;
}

void Connection::ready(uint32_t events) {
  if (phase_ == Phase::kConnecting) {
    if ((events & EPOLLERR) != 0) {
      return fail(std::string("connect: ") + std::strerror(pending_error(socket_.get())));
    }
    if ((events & EPOLLOUT) == 0) return;
    phase_ = Phase::kHandshaking;
  }
  if (phase_ == Phase::kHandshaking) {
    switch (stream_->handshake()) {
      case Io::kAgain:
        return;
      case Io::kClosed:
        return fail("handshake: closed by the peer");
      case Io::kFailed:
        return fail("handshake: " + stream_->error());
      case Io::kDone:
        phase_ = Phase::kOpen;
        ++context_.tally.opened;
        if (stream_->resumed()) ++context_.tally.resumed;
        opened();
    }
  }
  read();
  if (phase_ != Phase::kOpen) return;
  stream_->flush();
  writable();
}

void Connection::read() {
  while (phase_ == Phase::kOpen || phase_ == Phase::kFinishing) {
    std::span<const std::byte> plaintext;
    switch (stream_->read(plaintext)) {
      case Io::kDone:
        if (phase_ == Phase::kOpen) received(plaintext);
        break;
      case Io::kAgain:
        return;
      case Io::kClosed:
      case Io::kFailed:
        // After our own close_notify any end will do: some peers reset instead of closing.
        if (phase_ == Phase::kOpen) {
          return fail(stream_->error().empty() ? "closed by the peer" : stream_->error());
        }
        drop();
        return ended(true);
    }
  }
}

}  // namespace sallyport::bench
