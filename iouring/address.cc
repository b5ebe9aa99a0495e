#include "iouring/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace sallyport::iouring {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";

template <class T>
T as(const sockaddr_storage& storage) noexcept {
  T address;
  std::memcpy(&address, &storage, sizeof address);
  return address;
}

template <class T>
SocketAddress from(const T& address, std::size_t length = sizeof(T)) noexcept {
  return {reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(length)};
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  std::uint16_t port = 0;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [stop, error] = std::from_chars(begin, end, port);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return port;
}

std::optional<SocketAddress> parse_unix(std::string_view path) noexcept {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const bool abstract = path.starts_with('@');
  // A path ends with a NUL, an abstract name begins with one (unix(7)).
  if (path.empty() || path.size() + (abstract ? 0 : 1) > sizeof address.sun_path ||
      path.find('\0') != std::string_view::npos)
    return std::nullopt;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (abstract) address.sun_path[0] = '\0';
  return from(address, offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
}

std::optional<SocketAddress> parse_v6(std::string_view host, std::uint16_t port) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (const std::size_t percent = host.find('%'); percent != std::string_view::npos) {
    const std::string zone(host.substr(percent + 1));
    address.sin6_scope_id = ::if_nametoindex(zone.c_str());
    if (address.sin6_scope_id == 0) {
      const auto [stop, error] =
          std::from_chars(zone.data(), zone.data() + zone.size(), address.sin6_scope_id);
      if (zone.empty() || error != std::errc() || stop != zone.data() + zone.size())
        return std::nullopt;
    }
    host = host.substr(0, percent);
  }
  if (::inet_pton(AF_INET6, std::string(host).c_str(), &address.sin6_addr) != 1)
    return std::nullopt;
  return from(address);
}

}  // namespace

SocketAddress::SocketAddress(const sockaddr* address, socklen_t length) noexcept
    : length_(std::min<socklen_t>(length, sizeof storage_)) {
  std::memcpy(&storage_, address, length_);
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) return parse_unix(text.substr(kUnixPrefix.size()));
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::optional<std::uint16_t> port = parse_port(text.substr(colon + 1));
  if (!port || host.find('\0') != std::string_view::npos) return std::nullopt;
  if (host.starts_with('[') && host.ends_with(']'))
    return parse_v6(host.substr(1, host.size() - 2), *port);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(*port);
  if (::inet_pton(AF_INET, std::string(host).c_str(), &address.sin_addr) != 1) return std::nullopt;
  return from(address);
}

std::string SocketAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (family()) {
    case AF_INET: {
      const auto address = as<sockaddr_in>(storage_);
      ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
      return std::string(text.data()) + ":" + std::to_string(port());
    }
    case AF_INET6: {
      const auto address = as<sockaddr_in6>(storage_);
      ::inet_ntop(AF_INET6, &address.sin6_addr, text.data(), text.size());
      std::string zone;
      if (address.sin6_scope_id != 0) {
        std::array<char, IF_NAMESIZE> name{};
        zone = ::if_indextoname(address.sin6_scope_id, name.data()) != nullptr
                   ? "%" + std::string(name.data())
                   : "%" + std::to_string(address.sin6_scope_id);
      }
      return "[" + std::string(text.data()) + zone + "]:" + std::to_string(port());
    }
    case AF_UNIX: {
      const auto address = as<sockaddr_un>(storage_);
      const std::size_t size =
          length_ > offsetof(sockaddr_un, sun_path) ? length_ - offsetof(sockaddr_un, sun_path) : 0;
      if (size == 0) return std::string(kUnixPrefix);
      if (address.sun_path[0] == '\0')
        return std::string(kUnixPrefix) + "@" + std::string(address.sun_path + 1, size - 1);
      return std::string(kUnixPrefix) +
             std::string(address.sun_path, ::strnlen(address.sun_path, size));
    }
    default:
      return "-";
  }
}

bool SocketAddress::is_loopback() const noexcept {
  if (family() == AF_INET)
    return (ntohl(as<sockaddr_in>(storage_).sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  if (family() == AF_INET6) {
    const auto address = as<sockaddr_in6>(storage_);
    if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr))
      return address.sin6_addr.s6_addr[12] == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&address.sin6_addr);
  }
  return family() == AF_UNIX;
}

std::uint16_t SocketAddress::port() const noexcept {
  if (family() == AF_INET) return ntohs(as<sockaddr_in>(storage_).sin_port);
  if (family() == AF_INET6) return ntohs(as<sockaddr_in6>(storage_).sin6_port);
  return 0;
}

SocketAddress SocketAddress::with_port(std::uint16_t port) const noexcept {
  if (family() == AF_INET) {
    auto address = as<sockaddr_in>(storage_);
    address.sin_port = htons(port);
    return from(address);
  }
  if (family() == AF_INET6) {
    auto address = as<sockaddr_in6>(storage_);
    address.sin6_port = htons(port);
    return from(address);
  }
  return *this;
}

bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept {
  return a.length_ == b.length_ && std::memcmp(&a.storage_, &b.storage_, a.length_) == 0;
}

PeerAddress::PeerAddress(const SocketAddress& address) noexcept {
  if (address.family() != AF_INET && address.family() != AF_INET6) return;
  std::memcpy(bytes_.data(), address.data(), std::min<std::size_t>(bytes_.size(), address.size()));
}

std::uint64_t PeerAddress::network() const noexcept {
  // Beside ::/8, of which no host has an address (RFC 4291 2.5; mapped ones are taken out here).
  static constexpr std::uint64_t kIpv4 = std::uint64_t{0xffff} << 32;
  sockaddr_in6 v6;
  std::memcpy(&v6, bytes_.data(), sizeof v6);
  if (v6.sin6_family == AF_UNSPEC) return 0;
  std::uint32_t v4 = 0;
  if (v6.sin6_family == AF_INET) {
    std::memcpy(&v4, bytes_.data() + offsetof(sockaddr_in, sin_addr), sizeof v4);
    return kIpv4 | ntohl(v4);
  }
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    std::memcpy(&v4, &v6.sin6_addr.s6_addr[12], sizeof v4);
    return kIpv4 | ntohl(v4);
  }
  std::uint64_t prefix = 0;
  std::memcpy(&prefix, v6.sin6_addr.s6_addr, sizeof prefix);
  return be64toh(prefix);
}

SocketAddress PeerAddress::expand() const noexcept {
  sockaddr_in6 address;
  std::memcpy(&address, bytes_.data(), sizeof address);
  if (address.sin6_family == AF_UNSPEC) return {};
  const socklen_t size = address.sin6_family == AF_INET ? sizeof(sockaddr_in) : sizeof address;
  return {reinterpret_cast<const sockaddr*>(&address), size};
}

}  // namespace sallyport::iouring
