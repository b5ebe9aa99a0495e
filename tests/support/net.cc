#include "tests/support/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/support/wait.h"

namespace sallyport::test {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw TestFailure(what + ": " + std::strerror(errno));
}

}  // namespace

void Fd::close() {
  const int fd = fd_.exchange(-1);
  if (fd >= 0) ::close(fd);
}

void Fd::reset() {
  const linger abort_now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort_now, sizeof abort_now);
  close();
}

Address Address::parse(std::string_view text) {
  Address address;
  if (text.starts_with("unix:")) {
    auto& un = reinterpret_cast<sockaddr_un&>(address.storage);
    text.remove_prefix(5);
    if (text.size() >= sizeof un.sun_path) throw TestFailure("unix path too long");
    un.sun_family = AF_UNIX;
    text.copy(un.sun_path, text.size());
    address.size = sizeof un;
    return address;
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) throw TestFailure("no port in " + std::string(text));
  const auto port = static_cast<in_port_t>(std::stoi(std::string(text.substr(colon + 1))));
  std::string host(text.substr(0, colon));
  if (host.starts_with('[')) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    host = host.substr(1, host.size() - 2);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) throw TestFailure("bad " + host);
    address.size = sizeof v6;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) throw TestFailure("bad " + host);
    address.size = sizeof v4;
  }
  return address;
}

std::string Address::to_string() const {
  char host[INET6_ADDRSTRLEN] = {};
  switch (storage.ss_family) {
    case AF_INET: {
      const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
      inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
      return std::string(host) + ":" + std::to_string(ntohs(v4.sin_port));
    }
    case AF_INET6: {
      const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
      inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
      return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6.sin6_port));
    }
    default:
      return std::string("unix:") + reinterpret_cast<const sockaddr_un&>(storage).sun_path;
  }
}

Fd connect_to(const std::string& address, const std::string& source) {
  const Address to = Address::parse(address);
  Fd socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) fail("socket");
  if (!source.empty()) {
    const Address from = Address::parse(source);
    if (::bind(socket.get(), from.get(), from.size) != 0) fail("bind " + source);
  }
  if (::connect(socket.get(), to.get(), to.size) != 0) fail("connect " + address);
  const int one = 1;
  if (to.family() != AF_UNIX) {
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  return socket;
}

Fd listen_on(const std::string& address, int backlog) {
  const Address at = Address::parse(address);
  Fd socket(::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) fail("socket");
  const int one = 1;
  // A port only reserved for refusing must not be shared with a later listener.
  if (backlog >= 0) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(socket.get(), at.get(), at.size) != 0) fail("bind " + address);
  if (backlog >= 0 && ::listen(socket.get(), backlog) != 0) fail("listen " + address);
  return socket;
}

Address local_address(const Fd& socket) {
  Address address;
  address.size = sizeof address.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.size) !=
      0) {
    fail("getsockname");
  }
  return address;
}

Address peer_address(const Fd& socket) {
  Address address;
  address.size = sizeof address.storage;
  if (::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.size) !=
      0) {
    fail("getpeername");
  }
  return address;
}

bool wait_ready(int fd, short events) {
  pollfd poll_for{fd, events, 0};
  const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience);
  return ::poll(&poll_for, 1, static_cast<int>(patience.count())) == 1;
}

void send_all(const Fd& socket, std::string_view data) {
  while (!data.empty()) {
    if (!wait_ready(socket.get(), POLLOUT)) throw TestFailure("peer does not read");
    const ssize_t sent =
        ::send(socket.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) continue;
    if (sent < 0) fail("send");
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
}

StreamEnd receive(const Fd& socket, std::string& into, std::size_t enough) {
  char buffer[16384];
  while (into.size() < enough) {
    if (!wait_ready(socket.get(), POLLIN)) throw TestFailure("nothing more to receive");
    const std::size_t wanted = std::min(sizeof buffer, enough - into.size());
    const ssize_t received = ::recv(socket.get(), buffer, wanted, 0);
    if (received == 0) return StreamEnd::kFin;
    if (received < 0 && (errno == ECONNRESET || errno == EPIPE)) return StreamEnd::kReset;
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) fail("recv");
    into.append(buffer, static_cast<std::size_t>(received));
  }
  return StreamEnd::kOpen;
}

HttpResponse http(const std::string& address, const std::string& path, const std::string& method) {
  const Fd socket = connect_to(address);
  send_all(socket,
           method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::string all;
  receive_all(socket, all);
  HttpResponse response;
  const auto split = all.find("\r\n\r\n");
  if (split == std::string::npos || !all.starts_with("HTTP/1.")) {
    throw TestFailure("not an HTTP response: " + all);
  }
  response.head = all.substr(0, split);
  response.body = all.substr(split + 4);
  response.status = std::stoi(all.substr(9, 3));
  return response;
}

}  // namespace sallyport::test
