#include "gateway/backends/tcp_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace sallyport::gateway {

void set_tcp_options(iouring::Socket& socket) noexcept {
  const iouring::Result<int> domain = socket.get_option(SOL_SOCKET, SO_DOMAIN);
  if (!domain || (*domain != AF_INET && *domain != AF_INET6)) return;
  struct Option {
    int level, name, value;
  };
  constexpr Option kOptions[] = {
      {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
      {IPPROTO_TCP, TCP_KEEPIDLE, 60}, {IPPROTO_TCP, TCP_KEEPINTVL, 10},
      {IPPROTO_TCP, TCP_KEEPCNT, 6},
  };
  for (const Option& option : kOptions) {
    [[maybe_unused]] const iouring::Result<> set =
        socket.set_option(option.level, option.name, option.value);
  }
}

}  // namespace sallyport::gateway
