#include "iouring/spare_sockets.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace sallyport::iouring {
namespace {

// connect(2): TCP dissolves a connection by a connect to AF_UNSPEC, by a reset where the peer does
// not know of its end yet (tcp_disconnect in the kernel). The error that is left, of this reset or
// of the peer's, goes with the next connect (tcp_connect_init).
bool disconnect(const Socket& socket) noexcept {
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  return ::connect(socket.descriptor(), &none, sizeof none) == 0;
}

}  // namespace

Task<Result<Socket>> SpareSockets::connect(SocketAddress address, FirstBytes first) {
  // The one that came last: its memory is in the cache.
  const auto found = std::find_if(spare_.rbegin(), spare_.rend(), [&](const Spare& spare) {
    return spare.family == address.family() && spare.first == first;
  });
  if (found == spare_.rend()) return iouring::connect(ring_, address, first);
  Socket socket = std::move(found->socket);
  spare_.erase(std::next(found).base());
  return iouring::connect(std::move(socket), address);
}

void SpareSockets::reset(Socket socket, int family, FirstBytes first) noexcept {
  close_unneeded();
  const bool is_tcp = family == AF_INET || family == AF_INET6;
  if (is_tcp && !socket.in_table() && spare_.size() < most_ && disconnect(socket)) {
    spare_.push_back({family, first, ring_.now(), std::move(socket)});
    return;
  }
  socket.reset();
}

void SpareSockets::close_unneeded() noexcept {
  const auto needed = std::ranges::find_if(
      spare_, [&](const Spare& spare) { return ring_.now() - spare.since <= kept_; });
  spare_.erase(spare_.begin(), needed);
}

}  // namespace sallyport::iouring
