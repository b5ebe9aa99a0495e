// Addresses as text: of listeners, of targets, of sockets. The three readers must agree on what an
// address is, and read what they write.

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gateway/backends/target.h"
#include "gateway/run/option_values.h"
#include "iouring/address.h"

namespace {

using sallyport::gateway::parse_listen_address;
using sallyport::gateway::Target;
using sallyport::iouring::SocketAddress;

void require(bool holds) {
  if (!holds) std::abort();
}

// A listener is bound to the address that its text is to the ring, and that is one of IP.
void check_listen(std::string_view text) {
  const auto listen = parse_listen_address(text);
  if (!listen) {
    require(!listen.error().empty());
    return;
  }
  require(listen->text == text);
  require(listen->address == SocketAddress::parse(text));
  require(!listen->address.is_unix());
}

void check_target(std::string_view text) {
  const auto target = Target::parse(text);
  if (!target) {
    require(!target.error().empty());
    return;
  }
  // "Unix:80" is the host "unix", which in lower case looks like a socket's path.
  if (target->kind == Target::Kind::kName && target->host == "unix") return;
  const auto again = Target::parse(target->canonical());
  require(again && *again == *target);
  require((target->kind == Target::Kind::kUnix) == (target->port == 0));
  const auto address = SocketAddress::parse(target->canonical());
  require(address.has_value() == (target->kind != Target::Kind::kName));
  if (address) require(address->to_string() == target->canonical());
}

void check_socket_address(std::string_view text) {
  const auto address = SocketAddress::parse(text);
  if (!address) return;
  const auto again = SocketAddress::parse(address->to_string());
  require(again && *again == *address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_listen(text);
  check_target(text);
  check_socket_address(text);
  return 0;
}
