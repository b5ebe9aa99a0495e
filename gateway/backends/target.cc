#include "gateway/backends/target.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "gateway/policy/config_error.h"
#include "gateway/policy/host_name.h"
#include "gateway/policy/number.h"

namespace sallyport::gateway {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::size_t kMaxUnixPath = 107;  // sun_path holds 108 bytes, one is the terminator

// The address as inet_ntop(3) writes it; nullopt: it is none.
std::optional<std::string> canonical_address(int family, std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  std::array<unsigned char, 16> address;
  if (text.size() >= buffer.size()) return std::nullopt;
  std::ranges::copy(text, buffer.begin());
  if (std::strlen(buffer.data()) != text.size()) return std::nullopt;
  if (inet_pton(family, buffer.data(), address.data()) != 1) return std::nullopt;
  if (!inet_ntop(family, address.data(), buffer.data(), buffer.size())) return std::nullopt;
  return buffer.data();
}

bool all_digits(std::string_view text) {
  return std::ranges::all_of(text, ktls::is_ascii_digit);
}

std::expected<Target, std::string> parse_unix(std::string_view path) {
  if (!path.starts_with('/')) {
    return std::unexpected("the path of a unix socket must be absolute, unix:/path");
  }
  if (path.size() > kMaxUnixPath) {
    return std::unexpected("the path of a unix socket has at most 107 bytes");
  }
  if (!is_route_name(path)) return std::unexpected("the path has control characters");
  return Target{Target::Kind::kUnix, std::string(path), 0};
}

}  // namespace

std::expected<Target, std::string> Target::parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) return parse_unix(text.substr(kUnixPrefix.size()));
  const auto refuse = [&](std::string_view why) {
    return std::unexpected("'" + printable(text) + "': " + std::string(why));
  };

  const std::size_t colon = text.rfind(':');
  // A colon inside of brackets, "[::1]", starts no port.
  if (colon == std::string_view::npos || text.ends_with(']')) return refuse("the port is missing");
  const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
  if (!port || *port == 0) return refuse("the port must be a number from 1 to 65535");

  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    auto address = canonical_address(AF_INET6, host.substr(1, host.size() - 2));
    if (!address) return refuse("the brackets hold no IPv6 address");
    return Target{Kind::kIpv6, std::move(*address), *port};
  }
  if (host.find(':') != std::string_view::npos) {
    return refuse("an IPv6 address must be in brackets, [::1]:80");
  }
  if (auto address = canonical_address(AF_INET, host)) {
    return Target{Kind::kIpv4, std::move(*address), *port};
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  // No top-level domain is a number, so this is an IPv4 address with a mistake (RFC 3696, 2).
  if (!is_host_name(host, Underscore::kAllowed) || all_digits(host.substr(host.rfind('.') + 1))) {
    return refuse("neither an IP address nor a host name");
  }
  return Target{Kind::kName, ascii_lower(host), *port};
}

std::string Target::canonical() const {
  switch (kind) {
    case Kind::kUnix:
      return std::string(kUnixPrefix) + host;
    case Kind::kIpv6:
      return "[" + host + "]:" + std::to_string(port);
    case Kind::kIpv4:
    case Kind::kName:
      break;
  }
  return host + ":" + std::to_string(port);
}

}  // namespace sallyport::gateway
