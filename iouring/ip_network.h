#pragma once
// A network of IP addresses as a value: an address, and how many of its bits count.
#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "iouring/address.h"

namespace sallyport::iouring {

/// Of IPv4 or of IPv6. IPv4 addresses that are mapped into IPv6 (RFC 4291 2.5.5.2) count as IPv4,
/// in a network as in an address: so no network of IPv6 contains them, not even ::/0.
class IpNetwork {
 public:
  /// "10.0.0.0/8", "fd00::/8", or an address alone, of which all bits count. The error says what is
  /// wrong with the text, as in "is not ...".
  [[nodiscard]] static std::expected<IpNetwork, std::string> parse(std::string_view text);

  /// Of another family than IPv4 and IPv6: false.
  [[nodiscard]] bool contains(const SocketAddress& address) const noexcept;

  /// Every address of its family.
  [[nodiscard]] bool is_everything() const noexcept { return bits_ == 0; }
  /// "10.0.0.0/8".
  [[nodiscard]] std::string to_string() const;

 private:
  using Bytes = std::array<std::uint8_t, 16>;
  struct Host {
    bool v4 = false;
    Bytes bytes{};  // of IPv4 the first four
  };
  [[nodiscard]] static Host unmapped(const Bytes& v6) noexcept;

  Host host_;
  unsigned bits_ = 0;
};

}  // namespace sallyport::iouring
