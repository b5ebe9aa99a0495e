#include "ktls/records/acknowledge.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <span>

namespace sallyport::ktls {

[[gnu::noinline]] iouring::Task<void> acknowledge(iouring::Socket& socket) {
  // Even: this once (__tcp_sock_set_quickack in the kernel). With 1 a segment of its own would
  // acknowledge what comes next, too.
  const int once = 2;
  [[maybe_unused]] iouring::Result<> set =
      co_await socket.set_option(IPPROTO_TCP, TCP_QUICKACK, std::as_bytes(std::span(&once, 1)));
}

}  // namespace sallyport::ktls
