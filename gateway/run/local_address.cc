#include "gateway/run/local_address.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "iouring/address.h"
#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

std::string bind_error_text(const iouring::SocketAddress& address, int error) {
  std::string text = std::strerror(error);
  if (error == EADDRINUSE)
    return text +
           ": another process listens there, which ss -ltnp tells; --share-port listens "
           "beside it";
  if (error == EACCES)
    return text +
           ": a low port needs CAP_NET_BIND_SERVICE, or a lower "
           "net.ipv4.ip_unprivileged_port_start";
  if (error != EADDRNOTAVAIL && error != EAFNOSUPPORT) return text;
  if (address.family() == AF_INET6 && ipv6_is_off()) {
    return text + ": IPv6 is switched off, no interface has an IPv6 address";
  }
  return text + ": this machine has no such address";
}

std::optional<std::string> unusable_address(const iouring::SocketAddress& address) {
  const iouring::SocketAddress trial = address.with_port(0);
  const iouring::FileDescriptor socket(::socket(trial.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket && ::bind(socket.get(), trial.data(), trial.size()) == 0) return std::nullopt;
  return bind_error_text(trial, errno);
}

std::optional<std::string> bound_elsewhere(const iouring::SocketAddress& address) {
  if (address.is_unix()) return std::nullopt;  // to try it would make its file
  const iouring::FileDescriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (socket && ::bind(socket.get(), address.data(), address.size()) == 0) return std::nullopt;
  return std::strerror(errno);
}

bool ipv6_is_off() {
  std::ifstream addresses("/proc/net/if_inet6");  // one a line; not there without IPv6
  return addresses.peek() == std::ifstream::traits_type::eof();
}

}  // namespace sallyport::gateway
