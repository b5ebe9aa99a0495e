#include "iouring/spare_sockets.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace sallyport::iouring {
namespace {

// connect(2): TCP dissolves a connection by a connect to AF_UNSPEC, by a reset where the peer does
// not know of its end yet (tcp_disconnect in the kernel). What the peer did before, a reset, is
// left as an error, which the next connect would report.
bool disconnect(const Socket& socket) noexcept {
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  if (::connect(socket.descriptor(), &none, sizeof none) != 0) return false;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) == 0;
}

}  // namespace

Task<Result<Socket>> SpareSockets::connect(SocketAddress address, FirstBytes first) {
  // The one that came last: its memory is in the cache.
  const auto found =
      std::ranges::find(spare_.rbegin(), spare_.rend(), address.family(), &Spare::family);
  if (found == spare_.rend()) return iouring::connect(ring_, address, first);
  Socket socket = std::move(found->socket);
  spare_.erase(std::next(found).base());
  return iouring::connect(std::move(socket), address, first);
}

void SpareSockets::reset(Socket socket, int family) noexcept {
  const bool is_tcp = family == AF_INET || family == AF_INET6;
  if (is_tcp && !socket.in_table() && spare_.size() < most_ && disconnect(socket)) {
    spare_.push_back({family, std::move(socket)});
    return;
  }
  socket.reset();
}

}  // namespace sallyport::iouring
