#pragma once
// A socket address as a value: IPv4, IPv6 or unix.
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sallyport::iouring {

/// Compares and copies by its bytes; 132 bytes, so keep few.
class SocketAddress {
 public:
  /// No address: family AF_UNSPEC.
  SocketAddress() noexcept = default;
  /// What the kernel gave (getpeername(2), getaddrinfo(3)). Longer than sockaddr_storage is cut.
  SocketAddress(const sockaddr* address, socklen_t length) noexcept;

  /// "1.2.3.4:5", "[::1]:5", "[fe80::1%eth0]:5", "unix:/path" or "unix:@abstract". Numbers only, no
  /// names are looked up; the port is required, 0 to 65535. Nothing for any other text.
  [[nodiscard]] static std::optional<SocketAddress> parse(std::string_view text);

  /// The same forms; "-" for no address, "unix:" for an unnamed unix peer.
  [[nodiscard]] std::string to_string() const;

  [[nodiscard]] int family() const noexcept { return storage_.ss_family; }
  [[nodiscard]] bool is_unix() const noexcept { return family() == AF_UNIX; }
  /// 127.0.0.0/8, also mapped into IPv6, ::1, and every unix socket.
  [[nodiscard]] bool is_loopback() const noexcept;
  /// 0 for unix.
  [[nodiscard]] std::uint16_t port() const noexcept;
  [[nodiscard]] SocketAddress with_port(std::uint16_t port) const noexcept;

  [[nodiscard]] const sockaddr* data() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage_);
  }
  [[nodiscard]] socklen_t size() const noexcept { return length_; }

  friend bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept;

 private:
  sockaddr_storage storage_{};
  socklen_t length_ = 0;
};

/// An IPv4 or IPv6 address and port in the 28 bytes that they need, where there are many.
class PeerAddress {
 public:
  /// No address.
  PeerAddress() noexcept = default;
  /// No address of any other family.
  explicit PeerAddress(const SocketAddress& address) noexcept;

  [[nodiscard]] SocketAddress expand() const noexcept;

  /// What one host can choose its addresses from: the IPv4 address (also mapped into IPv6), or the
  /// first 64 bits of the IPv6 address; 0 for no address. Equal for equal networks only.
  [[nodiscard]] std::uint64_t network() const noexcept;

 private:
  std::array<std::byte, sizeof(sockaddr_in6)> bytes_{};  // a sockaddr_in or a sockaddr_in6
};

}  // namespace sallyport::iouring
