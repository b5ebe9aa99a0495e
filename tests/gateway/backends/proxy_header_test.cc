#include "gateway/backends/proxy_header.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/hex.h"

namespace sallyport::gateway {
namespace {

using enum ProxyTlv;

ProxiedClient client_between(const char* source, const char* destination) {
  return {.source = *iouring::SocketAddress::parse(source),
          .destination = *iouring::SocketAddress::parse(destination)};
}

// The header in hexadecimal, without its signature.
std::string encoded(const ProxyRule& rule, const ProxiedClient& client) {
  const auto header = encode_proxy_header(rule, client);
  if (!header) return header.error();
  const std::string all = ktls::encode_hex(std::span<const std::byte>(*header));
  EXPECT_TRUE(all.starts_with("0d0a0d0a000d0a515549540a")) << all;
  return all.substr(24);
}

std::string hex(std::string_view text) {
  return ktls::encode_hex(std::as_bytes(std::span(text)));
}

TEST(ProxyHeader, HasTheAddressesOfItsFamily) {
  EXPECT_EQ(encoded({}, client_between("192.0.2.1:258", "198.51.100.2:443")),
            "2111000c"
            "c0000201c6336402010201bb");
  EXPECT_EQ(encoded({}, client_between("[2001:db8::1]:1", "[fd00::2]:65535")),
            "21210024"
            "20010db8000000000000000000000001fd0000000000000000000000000000020001ffff");
}

TEST(ProxyHeader, IsNotMadeOfAddressesThatDoNotFitTogether) {
  EXPECT_EQ(encoded({}, client_between("192.0.2.1:1", "[::1]:2")),
            "no PROXY header from 192.0.2.1:1 to [::1]:2");
  EXPECT_EQ(encoded({}, client_between("unix:/a", "unix:/b")),
            "no PROXY header from unix:/a to unix:/b");
  EXPECT_EQ(encoded({}, {}), "no PROXY header from - to -");
}

TEST(ProxyHeader, OfALocalApplicationClaimsNoTls) {
  ProxiedClient client = client_between("127.0.0.1:258", "127.0.0.1:443");
  client.local = true;
  client.identity = "-";
  EXPECT_EQ(encoded({.tlvs = {kSsl, kIdentity}}, client),
            "21110010"
            "7f0000017f000001010201bb"
            "e000012d");
}

TEST(ProxyHeader, OfALocalApplicationOverAUnixSocketHasNoAddresses) {
  ProxiedClient client{.source = {}, .destination = *iouring::SocketAddress::parse("unix:/b")};
  client.local = true;
  client.identity = "-";
  EXPECT_EQ(encoded({.tlvs = {kIdentity}}, client), "21000004e000012d");
}

TEST(ProxyHeader, HasItsTlvsInTheOrderOfTheRule) {
  ProxiedClient client = client_between("0.0.0.1:0", "0.0.0.2:0");
  client.unique_id = "id";
  client.authority = "a.b";
  client.alpn = "h2";
  client.identity = "dns:x";
  const std::string addresses = "000000010000000200000000";
  EXPECT_EQ(encoded({.tlvs = {kAuthority, kAlpn, kUniqueId, kIdentity}}, client),
            "21110024" + addresses + "020003" + hex("a.b") + "010002" + hex("h2") + "050002" +
                hex("id") + "e00005" + hex("dns:x"));
  EXPECT_EQ(encoded({.tlvs = {kIdentity, kUniqueId}, .identity_type = 0xEF}, client),
            "21110019" + addresses + "ef0005" + hex("dns:x") + "050002" + hex("id"));
}

TEST(ProxyHeader, LeavesOutWhatIsNotKnown) {
  const ProxiedClient client = client_between("0.0.0.1:0", "0.0.0.2:0");
  EXPECT_EQ(encoded({.tlvs = {kAuthority, kAlpn, kUniqueId, kIdentity}}, client),
            encoded({}, client));
}

TEST(ProxyHeader, SaysWhenTheClientGaveItsCertificate) {
  ProxiedClient client = client_between("0.0.0.1:0", "0.0.0.2:0");
  client.tls_version = "TLSv1.3";
  client.cipher = "TLS_AES_128_GCM_SHA256";
  client.common_name = "web";
  const ProxyRule rule{.tlvs = {kSsl}};
  const std::string inner =
      "00000000"  // verified
      "210007" +
      hex("TLSv1.3") + "220003" + hex("web") + "230016" + hex("TLS_AES_128_GCM_SHA256");
  const std::string before = "2111003d000000010000000200000000";
  EXPECT_EQ(encoded(rule, client), before +
                                       "20002e"
                                       "07" +
                                       inner)
      << "in this connection";
  client.resumed = true;
  EXPECT_EQ(encoded(rule, client), before +
                                       "20002e"
                                       "05" +
                                       inner)
      << "in this session";
}

// "123456789" has the checksum 0xE3069283, as every CRC-32C; four zeros 0x48674BC7.
TEST(ProxyHeader, SumsByTheCastagnoliPolynomial) {
  const std::string_view digits = "123456789";
  EXPECT_EQ(proxy_checksum(std::as_bytes(std::span(digits)), digits.size()), 0xE3069283U);
  const std::string_view own = "abcd";
  EXPECT_EQ(proxy_checksum(std::as_bytes(std::span(own)), 0), 0x48674BC7U);
}

TEST(ProxyHeader, SumsTheWholeHeaderWhereverTheChecksumStands) {
  ProxiedClient client = client_between("192.0.2.1:1", "192.0.2.2:2");
  client.unique_id = "id";
  for (const ProxyRule& rule :
       {ProxyRule{.tlvs = {kCrc32c, kUniqueId}}, ProxyRule{.tlvs = {kUniqueId, kCrc32c}}}) {
    const auto header = encode_proxy_header(rule, client);
    ASSERT_TRUE(header);
    const std::size_t at = rule.tlvs.front() == kCrc32c ? 28 + 3 : 28 + 5 + 3;
    EXPECT_EQ(header->at(at - 3), std::byte{0x03});
    const std::uint32_t sum = proxy_checksum(*header, at);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(std::to_integer<std::uint32_t>(header->at(at + i)), sum >> (24 - 8 * i) & 0xffU);
    }
  }
}

TEST(ProxyHeader, IsNoLongerThanReceiversTake) {
  ProxiedClient client = client_between("192.0.2.1:1", "192.0.2.2:2");
  std::string identity(kMaxSentProxyHeader - kProxyFixedSize - kProxyIpv4Size - kProxyTlvHead, 'x');
  client.identity = identity;
  const auto longest = encode_proxy_header({.tlvs = {kIdentity}}, client);
  ASSERT_TRUE(longest);
  EXPECT_EQ(longest->size(), kMaxSentProxyHeader);
  identity += 'x';
  client.identity = identity;
  EXPECT_EQ(encoded({.tlvs = {kIdentity}}, client), "a PROXY header of more than 4096 bytes");
  // What no length of a TLV can say.
  identity.assign(70'000, 'x');
  client.identity = identity;
  EXPECT_EQ(encoded({.tlvs = {kIdentity}}, client), "a PROXY header of more than 4096 bytes");
}

TEST(ProxyHeader, HasTheCertificateInsideOfSslWhereItIsListed) {
  ProxiedClient client = client_between("0.0.0.1:0", "0.0.0.2:0");
  const std::string_view der = "\x30\x01x";
  client.certificate = std::as_bytes(std::span(der));
  const std::string addresses = "000000010000000200000000";
  const std::string ssl =
      "20000b"
      "07"
      "00000000"
      "280003" +
      hex(der);
  EXPECT_EQ(encoded({.tlvs = {kSsl, kClientCert}}, client), "2111001a" + addresses + ssl);
  EXPECT_EQ(encoded({.tlvs = {kClientCert, kSsl}}, client), "2111001a" + addresses + ssl);
  EXPECT_FALSE(encoded({.tlvs = {kSsl}}, client).contains(hex(der)));
}

TEST(ProxyHeader, IsNotMadeWithoutTheCertificateThatItIsToHave) {
  EXPECT_EQ(encoded({.tlvs = {kSsl, kClientCert}}, client_between("0.0.0.1:0", "0.0.0.2:0")),
            "no PROXY header without the client's certificate");
}

TEST(ProxyHeader, WithACertificateIsLongerAndNoLongerThanReceiversTake) {
  ProxiedClient client = client_between("192.0.2.1:1", "192.0.2.2:2");
  constexpr std::size_t kSslHead = kProxyTlvHead + 5 + kProxyTlvHead;
  std::vector<std::byte> certificate(kMaxSentProxyHeaderWithCertificate - kProxyFixedSize -
                                     kProxyIpv4Size - kSslHead);
  client.certificate = certificate;
  const ProxyRule rule{.tlvs = {kSsl, kClientCert}};
  const auto longest = encode_proxy_header(rule, client);
  ASSERT_TRUE(longest) << longest.error();
  EXPECT_EQ(longest->size(), kMaxSentProxyHeaderWithCertificate);
  for (const std::size_t size : {certificate.size() + 1, std::size_t{70'000}}) {
    certificate.resize(size);
    client.certificate = certificate;
    EXPECT_EQ(encoded(rule, client), "a PROXY header of more than 16384 bytes");
  }
}

TEST(ProxyHeader, OfTheGatewayItselfIsLocal) {
  EXPECT_EQ(ktls::encode_hex(std::span<const std::byte>(local_proxy_header())),
            "0d0a0d0a000d0a515549540a20000000");
}

}  // namespace
}  // namespace sallyport::gateway
