// The addresses of this machine from which backends were connected to.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "iouring/address.h"

namespace sallyport::gateway {

/// Gives a number to each, of which a connection keeps two bytes instead of the address: the socket
/// cannot be asked once it is in the ring's table. A machine has few, so they are never dropped. Of
/// one shard.
class LocalHosts {
 public:
  /// Not a number of any: a unix socket's, or one too many.
  static constexpr std::uint16_t kNone = 0;

  /// The number of the host of `address`.
  [[nodiscard]] std::uint16_t number(const iouring::SocketAddress& address) {
    if (address.is_unix()) return kNone;
    const iouring::SocketAddress host = address.with_port(0);
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (hosts_[i] == host) return static_cast<std::uint16_t>(i + 1);
    }
    if (hosts_.size() == std::numeric_limits<std::uint16_t>::max()) return kNone;
    hosts_.push_back(host);
    return static_cast<std::uint16_t>(hosts_.size());
  }

  /// The address of that number, which is not kNone, with this port.
  [[nodiscard]] iouring::SocketAddress address(std::uint16_t number, std::uint16_t port) const {
    return hosts_.at(number - 1U).with_port(port);
  }

 private:
  std::vector<iouring::SocketAddress> hosts_;
};

}  // namespace sallyport::gateway
