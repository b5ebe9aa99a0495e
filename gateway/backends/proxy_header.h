// PROXY headers of version 2: what a backend is told of a connection in front of its first byte.
// HAProxy's doc/proxy-protocol.txt, section 2.2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/policy/proxy_rule.h"
#include "iouring/address.h"

namespace sallyport::gateway {

inline constexpr std::array<std::byte, 12> kProxySignature{
    std::byte{0x0D}, std::byte{0x0A}, std::byte{0x0D}, std::byte{0x0A},
    std::byte{0x00}, std::byte{0x0D}, std::byte{0x0A}, std::byte{0x51},
    std::byte{0x55}, std::byte{0x49}, std::byte{0x54}, std::byte{0x0A}};
/// Signature, version and command, family and protocol, length of the rest.
inline constexpr std::size_t kProxyFixedSize = kProxySignature.size() + 4;
/// The bytes of source and destination over TCP.
inline constexpr std::size_t kProxyIpv4Size = 12, kProxyIpv6Size = 36;
/// Type and length of a TLV.
inline constexpr std::size_t kProxyTlvHead = 3;
/// PP2_TYPE_CRC32C.
inline constexpr std::uint8_t kProxyCrc32cType = 0x03;

/// The longest header that is sent: nginx takes no longer one (NGX_PROXY_PROTOCOL_MAX_HEADER).
inline constexpr std::size_t kMaxSentProxyHeader = 4096;
/// The longest one with a certificate: HAProxy takes what its buffer holds (tune.bufsize).
inline constexpr std::size_t kMaxSentProxyHeaderWithCertificate = 16384;

/// What a header can say of a client that was let in. An empty text is not known: its TLV is left
/// out.
struct ProxiedClient {
  iouring::SocketAddress source;       ///< of the client
  iouring::SocketAddress destination;  ///< that it connected to; of the same family
  /// An application of this machine, in plaintext: no TLV ssl, and over a unix socket no addresses.
  bool local = false;
  std::string_view unique_id{};
  std::string_view authority{};    ///< the server name that it asked for
  std::string_view alpn{};         ///< as confirmed
  std::string_view tls_version{};  ///< OpenSSL's names, as HAProxy sends them
  std::string_view cipher{};
  std::string_view common_name{};  ///< of its certificate
  std::string_view identity{};
  std::span<const std::byte> certificate{};  ///< its own, in DER
  bool resumed = false;  ///< it gave its certificate in an earlier connection of the session
};

/// The header, of no more bytes than these. The error says why there is none: a backend must not
/// take the connection for another one, nor miss a certificate that it counts on.
[[nodiscard]] std::expected<std::vector<std::byte>, std::string> encode_proxy_header(
    const ProxyRule& rule, const ProxiedClient& client);

/// The header of a connection that is the gateway's own: command LOCAL, no addresses.
[[nodiscard]] constexpr std::array<std::byte, kProxyFixedSize> local_proxy_header() noexcept {
  std::array<std::byte, kProxyFixedSize> header{};
  for (std::size_t i = 0; i < kProxySignature.size(); ++i) header[i] = kProxySignature[i];
  header[kProxySignature.size()] = std::byte{0x20};
  return header;
}

/// CRC-32C (RFC 4960 Appendix B) of a header, in which the value at `value_at` counts as zero.
[[nodiscard]] std::uint32_t proxy_checksum(std::span<const std::byte> header,
                                           std::size_t value_at) noexcept;

}  // namespace sallyport::gateway
