#include "iouring/ip_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>

namespace sallyport::iouring {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned kMappedBits = 8 * kMapped.size();

bool same_bits(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, unsigned bits) {
  const std::size_t whole = bits / 8;
  if (!std::ranges::equal(a.first(whole), b.first(whole))) return false;
  const unsigned rest = bits % 8;
  return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool clear_behind(std::span<const std::uint8_t> bytes, unsigned bits) {
  for (std::size_t bit = bits; bit < 8 * bytes.size(); ++bit)
    if ((bytes[bit / 8] & 0x80U >> bit % 8) != 0) return false;
  return true;
}

std::optional<unsigned> parse_bits(std::string_view text, unsigned most) {
  unsigned bits = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (error != std::errc() || stop != text.data() + text.size() || bits > most) return std::nullopt;
  return bits;
}

}  // namespace

IpNetwork::Host IpNetwork::unmapped(const Bytes& v6) noexcept {
  if (!std::ranges::equal(std::span(v6).first<kMapped.size()>(), kMapped)) return {false, v6};
  Host host{.v4 = true};
  std::ranges::copy(std::span(v6).subspan<kMapped.size()>(), host.bytes.begin());
  return host;
}

std::expected<IpNetwork, std::string> IpNetwork::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  IpNetwork network;
  // inet_pton(3) would stop at a NUL.
  const bool text_only = address.find('\0') == std::string::npos;
  unsigned most = 32;
  if (text_only && ::inet_pton(AF_INET, address.c_str(), network.host_.bytes.data()) == 1) {
    network.host_.v4 = true;
  } else if (text_only && ::inet_pton(AF_INET6, address.c_str(), network.host_.bytes.data()) == 1) {
    most = 128;
  } else {
    return std::unexpected(std::string("is not an IP address or a network such as 10.0.0.0/8"));
  }
  const auto bits =
      slash == std::string_view::npos ? most : parse_bits(text.substr(slash + 1), most);
  if (!bits)
    return std::unexpected("has no number from 0 to " + std::to_string(most) + " behind the slash");
  if (!clear_behind(std::span(network.host_.bytes).first(most / 8), *bits))
    return std::unexpected("has an address with bits set behind the first " +
                           std::to_string(*bits));
  network.bits_ = *bits;
  if (most == 128 && *bits >= kMappedBits) {
    network.host_ = unmapped(network.host_.bytes);
    if (network.host_.v4) network.bits_ -= kMappedBits;
  }
  return network;
}

bool IpNetwork::contains(const SocketAddress& address) const noexcept {
  Host host;
  if (address.family() == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(address.data());
    host.v4 = true;
    std::memcpy(host.bytes.data(), &v4->sin_addr, sizeof v4->sin_addr);
  } else if (address.family() == AF_INET6) {
    Bytes bytes;
    const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(address.data());
    std::memcpy(bytes.data(), &v6->sin6_addr, bytes.size());
    host = unmapped(bytes);
  } else {
    return false;
  }
  return host.v4 == host_.v4 && same_bits(host.bytes, host_.bytes, bits_);
}

std::string IpNetwork::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(host_.v4 ? AF_INET : AF_INET6, host_.bytes.data(), text.data(), text.size());
  return std::string(text.data()) + "/" + std::to_string(bits_);
}

}  // namespace sallyport::iouring
