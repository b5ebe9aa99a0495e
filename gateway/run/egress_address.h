// A value of --egress.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>
#include <string_view>

#include "iouring/address.h"

namespace sallyport::gateway {

/// Where local applications connect to, and the route that they get.
struct EgressAddress {
  std::string text;  ///< as given: metric label and log value
  iouring::SocketAddress address;
  std::string route;
  mode_t mode = 0600;      ///< of a unix socket's file
  std::string owner = {};  ///< of that, a name or number; empty: ours
  std::string group = {};  ///< likewise
};

/// "ADDR:PORT=ROUTE" or "unix:/PATH=ROUTE[,mode=0600][,owner=U][,group=G]"; the path has no '='.
[[nodiscard]] std::expected<EgressAddress, std::string> parse_egress_address(std::string_view text);

}  // namespace sallyport::gateway
