#include "gateway/backends/proxy_header.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "ktls/base/big_endian.h"
#include "ktls/base/wire.h"

namespace sallyport::gateway {
namespace {

constexpr std::size_t kChecksumSize = 4;

enum Type : std::uint8_t {
  kTypeAlpn = 0x01,
  kTypeAuthority = 0x02,
  kTypeUniqueId = 0x05,
  kTypeSsl = 0x20,
  kTypeSslVersion = 0x21,
  kTypeSslCn = 0x22,
  kTypeSslCipher = 0x23,
  kTypeSslClientCert = 0x28,
};

// Bits of the client's byte in the TLV ssl.
constexpr std::uint8_t kClientSsl = 0x01, kClientCertConn = 0x02, kClientCertSess = 0x04;

// Of the polynomial 0x1EDC6F41, lowest bit first.
constexpr auto kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1U ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
    table[i] = crc;
  }
  return table;
}();

void add_tlv(ktls::WireWriter& out, std::uint8_t type, std::string_view value) {
  if (value.empty()) return;
  out.u8(type);
  out.text(value);
}

void add_ssl(ktls::WireWriter& out, const ProxiedClient& client, bool with_certificate) {
  ktls::WireWriter value;
  value.u8(kClientSsl | kClientCertSess | (client.resumed ? 0 : kClientCertConn));
  value.u32(0);  // verified
  add_tlv(value, kTypeSslVersion, client.tls_version);
  add_tlv(value, kTypeSslCn, client.common_name);
  add_tlv(value, kTypeSslCipher, client.cipher);
  if (with_certificate) add_tlv(value, kTypeSslClientCert, ktls::as_text(client.certificate));
  out.u8(kTypeSsl);
  out.text(ktls::as_text(value.bytes()));
}

std::unexpected<std::string> longer_than(std::size_t most) {
  return std::unexpected("a PROXY header of more than " + std::to_string(most) + " bytes");
}

// Family and protocol, then the addresses. False: of two families, or of none that has ports.
bool add_addresses(ktls::WireWriter& rest, std::uint8_t& family, const ProxiedClient& client) {
  if (client.local && client.destination.is_unix()) {
    family = 0x00;  // UNSPEC: the receiver takes those of its own socket
    return true;
  }
  const int domain = client.source.family();
  if (client.destination.family() != domain) return false;
  const auto ip = [domain](const iouring::SocketAddress& address) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(address.data());
    return domain == AF_INET
               ? std::span(bytes + offsetof(sockaddr_in, sin_addr), sizeof(in_addr))
               : std::span(bytes + offsetof(sockaddr_in6, sin6_addr), sizeof(in6_addr));
  };
  if (domain != AF_INET && domain != AF_INET6) return false;
  family = domain == AF_INET ? 0x11 : 0x21;
  rest.raw(ip(client.source));
  rest.raw(ip(client.destination));
  rest.u16(client.source.port());
  rest.u16(client.destination.port());
  return true;
}

}  // namespace

std::uint32_t proxy_checksum(std::span<const std::byte> header, std::size_t value_at) noexcept {
  std::uint32_t crc = ~0U;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const bool own = i >= value_at && i < value_at + kChecksumSize;
    const auto byte = own ? 0U : std::to_integer<std::uint32_t>(header[i]);
    crc = crc >> 8U ^ kCrcTable[(crc ^ byte) & 0xffU];
  }
  return ~crc;
}

std::expected<std::vector<std::byte>, std::string> encode_proxy_header(
    const ProxyRule& rule, const ProxiedClient& client) {
  ktls::WireWriter rest;
  std::uint8_t family = 0;
  if (!add_addresses(rest, family, client))
    return std::unexpected("no PROXY header from " + client.source.to_string() + " to " +
                           client.destination.to_string());
  const bool with_certificate = rule.has(ProxyTlv::kClientCert);
  if (with_certificate && client.certificate.empty())
    return std::unexpected("no PROXY header without the client's certificate");
  const std::size_t most =
      with_certificate ? kMaxSentProxyHeaderWithCertificate : kMaxSentProxyHeader;
  // A length of two bytes could not say it, alone or inside of the TLV ssl.
  if (std::ranges::any_of(std::array{client.unique_id, client.authority, client.alpn,
                                     client.tls_version, client.cipher, client.common_name,
                                     client.identity, ktls::as_text(client.certificate)},
                          [most](std::string_view text) { return text.size() > most; }))
    return longer_than(most);
  std::optional<std::size_t> checksum_at;
  for (const ProxyTlv tlv : rule.tlvs) {
    switch (tlv) {
      case ProxyTlv::kAuthority:
        add_tlv(rest, kTypeAuthority, client.authority);
        break;
      case ProxyTlv::kAlpn:
        add_tlv(rest, kTypeAlpn, client.alpn);
        break;
      case ProxyTlv::kUniqueId:
        add_tlv(rest, kTypeUniqueId, client.unique_id);
        break;
      case ProxyTlv::kSsl:
        if (!client.local) add_ssl(rest, client, with_certificate);
        break;
      case ProxyTlv::kIdentity:
        add_tlv(rest, rule.identity_type, client.identity);
        break;
      case ProxyTlv::kClientCert:
        break;  // inside of ssl
      case ProxyTlv::kCrc32c:
        checksum_at = kProxyFixedSize + rest.bytes().size() + kProxyTlvHead;
        rest.u8(kProxyCrc32cType);
        rest.u16(kChecksumSize);
        rest.u32(0);
        break;
    }
  }
  if (rest.bytes().size() > most - kProxyFixedSize) return longer_than(most);

  ktls::WireWriter header;
  header.raw(kProxySignature);
  header.u8(0x21);
  header.u8(family);
  header.u16(rest.bytes().size());
  header.raw(rest.bytes());
  std::vector<std::byte> bytes = std::move(header).take();
  if (checksum_at) {
    const auto sum = ktls::big_endian(proxy_checksum(bytes, *checksum_at));
    std::ranges::copy(std::span(sum).last<kChecksumSize>(),
                      bytes.begin() + static_cast<std::ptrdiff_t>(*checksum_at));
  }
  return bytes;
}

}  // namespace sallyport::gateway
