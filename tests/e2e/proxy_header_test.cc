// "proxy-protocol" of a route: the backend learns who the client is from a header in front of its
// first byte.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>

#include "tests/e2e/scenario.h"
#include "tests/support/tls_backend.h"

namespace sallyport::test {
namespace {

constexpr std::string_view kHeaderSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr int kAlpn = 0x01, kAuthority = 0x02, kCrc32c = 0x03, kUniqueId = 0x05, kSsl = 0x20,
              kVersion = 0x21, kCommonName = 0x22, kCipher = 0x23, kClientCert = 0x28,
              kIdentity = 0xE0;

std::size_t number(std::string_view bytes) {
  std::size_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

std::map<int, std::string> tlvs_of(std::string_view bytes) {
  std::map<int, std::string> found;
  while (bytes.size() >= 3) {
    const std::size_t size = number(bytes.substr(1, 2));
    EXPECT_LE(3 + size, bytes.size());
    const int type = static_cast<unsigned char>(bytes[0]);
    EXPECT_TRUE(found.emplace(type, bytes.substr(3, size)).second) << "twice: " << type;
    bytes.remove_prefix(std::min(3 + size, bytes.size()));
  }
  EXPECT_TRUE(bytes.empty());
  return found;
}

// Bit by bit, as RFC 4960 has it.
std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0);
  }
  return ~crc;
}

struct Header {
  std::string bytes;
  std::string source = {}, destination = {};
  std::map<int, std::string> tlvs = {};
  // When the first bytes could be read: how many there were, and by how many segments.
  std::size_t waiting = 0;
  unsigned segments = 0;
};

std::string address_of(std::string_view ip, std::string_view port) {
  Address address;
  if (ip.size() == 4) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    v4.sin_family = AF_INET;
    ip.copy(reinterpret_cast<char*>(&v4.sin_addr), ip.size());
    port.copy(reinterpret_cast<char*>(&v4.sin_port), port.size());
    address.size = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    v6.sin6_family = AF_INET6;
    ip.copy(reinterpret_cast<char*>(&v6.sin6_addr), ip.size());
    port.copy(reinterpret_cast<char*>(&v6.sin6_port), port.size());
    address.size = sizeof v6;
  }
  return address.to_string();
}

Header parse(const std::string& bytes) {
  Header header{.bytes = bytes};
  EXPECT_TRUE(bytes.starts_with(kHeaderSignature));
  EXPECT_EQ(bytes.at(12), '\x21');
  const std::size_t ip = bytes.at(13) == '\x11' ? 4 : 16;
  EXPECT_EQ(bytes.at(13), ip == 4 ? '\x11' : '\x21');
  const std::string_view rest = std::string_view(bytes).substr(16);
  header.source = address_of(rest.substr(0, ip), rest.substr(2 * ip, 2));
  header.destination = address_of(rest.substr(ip, ip), rest.substr(2 * ip + 2, 2));
  header.tlvs = tlvs_of(rest.substr(2 * ip + 4));
  return header;
}

// The segments with data that have come: tcpi_data_segs_in, by its place in the kernel's tcp_info.
// glibc 2.36 has a shorter one, and linux/tcp.h does not go with netinet/tcp.h.
unsigned data_segments(const Fd& socket) {
  constexpr std::size_t kAt = 152;
  std::array<unsigned, 64> info{};
  socklen_t size = sizeof info;
  ::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, info.data(), &size);
  return size < kAt + sizeof(unsigned) ? 0 : info[kAt / sizeof(unsigned)];
}

// Reads a header from each connection, then serves it.
class HeaderBackend {
 public:
  explicit HeaderBackend(const std::string& address = "127.0.0.1:0", Backend::Serve serve = echo())
      : serve_(std::move(serve)), backend_([this](Fd& socket) { read(socket); }, address) {}

  const Backend& backend() const { return backend_; }
  // Of the connections in their order.
  Header wait(std::size_t index = 0) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return headers_.size() > index; }));
    return headers_.at(index);
  }

 private:
  void read(Fd& socket) {
    if (!wait_ready(socket.get(), POLLIN)) return;
    int waiting = 0;
    ::ioctl(socket.get(), FIONREAD, &waiting);
    const unsigned segments = data_segments(socket);
    std::string bytes;
    // Not a byte of the client.
    const auto more = [&](std::size_t until) {
      std::string piece(until - bytes.size(), '\0');
      const ssize_t got = ::recv(socket.get(), piece.data(), piece.size(), MSG_WAITALL);
      bytes += piece.substr(0, got < 0 ? 0 : static_cast<std::size_t>(got));
      return bytes.size() == until;
    };
    if (!more(16) || !more(16 + number(bytes.substr(14, 2)))) return;
    {
      const std::lock_guard lock(mutex_);
      headers_.push_back(parse(bytes));
      headers_.back().waiting = static_cast<std::size_t>(waiting);
      headers_.back().segments = segments;
    }
    changed_.notify_all();
    serve_(socket);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Header> headers_;
  Backend::Serve serve_;
  Backend backend_;
};

class ProxyHeaders : public Scenario {
 protected:
  Gateway& start_with(const HeaderBackend& backend, const std::string& rule = "\"v2\"",
                      const std::vector<std::string>& given = {}) {
    return start_for(backend.backend(), with_policy(rule, given));
  }
  std::vector<std::string> with_policy(const std::string& rule,
                                       std::vector<std::string> given = {}) {
    given.push_back("--policy");
    given.push_back(dir.write(
        "policy.json", R"({"routes": {"orders": {"sni": ["orders.example.org"], "alpn": ["h2"],
                           "allow": ["spiffe://example.org/**"], "proxy-protocol": )" +
                           rule + R"(}, "any": {"allow-any-verified": true}}})"));
    return given;
  }
  TlsClient connect_h2(ClientOptions options) const {
    options.alpn = {"h2"};
    return connect(std::move(options));
  }
  TlsClient connect_h2() const { return connect_h2(as(client)); }
  // Of a connection that has ended.
  std::shared_ptr<SSL_SESSION> earn_session() const {
    TlsClient tls = connect_h2();
    EXPECT_TRUE(tls.echo("ping"));
    std::shared_ptr<SSL_SESSION> session = tls.session();
    tls.close_notify();
    tls.receive_all();
    return session;
  }

  double headers(const char* direction, const char* result) const {
    return gateway->metrics().sum("proxy_headers_total",
                                  {{"direction", direction}, {"result", result}});
  }
};

TEST_F(ProxyHeaders, TellTheBackendWhatTheLogSays) {
  HeaderBackend backend;
  start_with(backend);
  std::string source;
  {
    TlsClient tls = connect_h2();
    EXPECT_TRUE(tls.echo("ping"));
    source = tls.local_address();
    tls.close_notify();
    tls.receive_all();
  }
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  const Header header = backend.wait();
  EXPECT_EQ(header.source, source);
  EXPECT_EQ(header.source, line.at("client"));
  EXPECT_EQ(header.destination, gateway->address());
  EXPECT_EQ(header.tlvs.at(kAuthority), "orders.example.org");
  EXPECT_EQ(header.tlvs.at(kAlpn), "h2");
  EXPECT_EQ(header.tlvs.at(kUniqueId), line.at("id"));
  EXPECT_EQ(header.tlvs.at(kIdentity), line.at("identity"));
  const std::string& ssl = header.tlvs.at(kSsl);
  EXPECT_EQ(ssl.substr(0, 5), std::string("\x07\0\0\0\0", 5)) << "TLS, a certificate, verified";
  const auto inner = tlvs_of(std::string_view(ssl).substr(5));
  EXPECT_EQ(inner.at(kVersion), line.at("tls"));
  EXPECT_EQ(inner.at(kCipher), line.at("cipher"));
  EXPECT_EQ(inner.at(kCommonName), "web");
  std::string zeroed = header.bytes;
  zeroed.replace(zeroed.find(std::string("\x03\0\x04", 3)) + 3, 4, 4, '\0');
  EXPECT_EQ(number(header.tlvs.at(kCrc32c)), crc32c(zeroed));
  EXPECT_EQ(line.at("received_bytes"), "4") << "the client's bytes alone";
  EXPECT_EQ(headers("send", "success"), 1);
  EXPECT_EQ(gateway->metrics().sum("sent_bytes_total", {{"leg", "backend"}}), 4);
}

TEST_F(ProxyHeaders, SayThatAResumedSessionGaveItsCertificateBefore) {
  HeaderBackend backend;
  start_with(backend);
  const std::shared_ptr<SSL_SESSION> session = earn_session();
  ClientOptions again = as(client);
  again.session = session;
  TlsClient tls = connect_h2(again);
  EXPECT_TRUE(tls.echo("ping"));
  ASSERT_TRUE(tls.resumed());
  const Header header = backend.wait(1);
  EXPECT_EQ(header.tlvs.at(kSsl).substr(0, 5), std::string("\x05\0\0\0\0", 5));
  EXPECT_EQ(tlvs_of(std::string_view(header.tlvs.at(kSsl)).substr(5)).at(kCommonName), "web");
  EXPECT_EQ(header.tlvs.at(kIdentity), kWeb);
}

// A resumed session has no certificate to send.
TEST_F(ProxyHeaders, HoldTheClientsCertificateWhereEveryHandshakeIsAFullOne) {
  const std::string with_certificate = R"({"tlvs": ["crc32c", "ssl", "client_cert"]})";
  const auto certificate_in = [](const Header& header) {
    return tlvs_of(std::string_view(header.tlvs.at(kSsl)).substr(5)).at(kClientCert);
  };
  const std::vector<unsigned char> der = to_der(client.x509.get());
  HeaderBackend backend;
  start_with(backend);
  const std::shared_ptr<SSL_SESSION> session = earn_session();
  ASSERT_TRUE(session);
  const double reloaded = reloads("success", "policy");
  with_policy(with_certificate);
  wait_reload("success", reloaded, "policy");

  ClientOptions again = as(client);
  again.session = session;
  TlsClient tls = connect_h2(again);
  EXPECT_TRUE(tls.echo("ping"));
  EXPECT_FALSE(tls.resumed()) << "a ticket of before the change";
  EXPECT_EQ(certificate_in(backend.wait(1)), std::string(der.begin(), der.end()));
  tls.close_notify();
  tls.receive_all();
  EXPECT_FALSE(tls.session()) << "no ticket";
  EXPECT_EQ(
      gateway->metrics().sum("tls_handshakes_total", {{"result", "success"}, {"resumed", "true"}}),
      0);
}

// Longer than nginx takes, and than the first window of a connection.
TEST_F(ProxyHeaders, HoldALargeCertificate) {
  HeaderBackend backend;
  start_with(backend, R"({"tlvs": ["ssl", "client_cert"]})");
  LeafSpec spec{.cn = "many names", .dns = {}, .spiffe = {kWeb}};
  for (int i = 0; i < 250; ++i)
    spec.dns.push_back("name-" + std::to_string(i) + ".a-domain-of-some-length.example.org");
  const TestCertificate large = root.issue(spec);
  const std::vector<unsigned char> der = to_der(large.x509.get());
  ASSERT_GT(der.size(), 10'000U);
  TlsClient tls = connect_h2(as(large));
  EXPECT_TRUE(tls.echo("ping"));
  EXPECT_EQ(tlvs_of(std::string_view(backend.wait().tlvs.at(kSsl)).substr(5)).at(kClientCert),
            std::string(der.begin(), der.end()));
}

TEST_F(ProxyHeaders, HoldWhatTheRouteListsInItsOrder) {
  HeaderBackend backend;
  start_with(backend, R"({"tlvs": ["identity", "authority"], "identity-type": "0xE7"})");
  TlsClient tls = connect_h2();
  EXPECT_TRUE(tls.echo("ping"));
  const Header header = backend.wait();
  EXPECT_EQ(header.tlvs,
            (std::map<int, std::string>{{0xE7, kWeb}, {kAuthority, "orders.example.org"}}));
  EXPECT_EQ(header.bytes.at(16 + 12), '\xE7');
}

TEST_F(ProxyHeaders, GoToIpv6AndFromIt) {
  HeaderBackend backend("[::1]:0");
  start_with(backend, "\"v2\"", {"--listen", "[::1]:0"});
  TlsClient tls = connect_h2();
  EXPECT_TRUE(tls.echo("ping"));
  const Header header = backend.wait();
  EXPECT_EQ(header.source, tls.local_address());
  EXPECT_EQ(header.destination, gateway->address());
}

TEST_F(ProxyHeaders, GoToUnixSockets) {
  HeaderBackend backend("unix:" + (dir / "backend.sock").string());
  start_with(backend);
  TlsClient tls = connect_h2();
  EXPECT_TRUE(tls.echo("ping"));
  EXPECT_EQ(backend.wait().source, tls.local_address());
}

// A protocol in which the server speaks first: the client says nothing until it has heard it.
TEST_F(ProxyHeaders, GoAtOnceWhereTheClientIsSilent) {
  HeaderBackend backend("127.0.0.1:0", named("welcome"));
  start_with(backend);
  TlsClient tls = connect_h2();
  EXPECT_EQ(tls.receive(7), "welcome");
  EXPECT_EQ(backend.wait().source, tls.local_address());
  EXPECT_TRUE(tls.echo("ping"));
}

// What has come by the time that the backend is connected, with the end of the handshake.
TEST_F(ProxyHeaders, ShareASegmentWithTheClientsFirstBytes) {
  HeaderBackend backend;
  start_with(backend);
  ClientOptions options = as(client);
  options.alpn = {"h2"};
  options.handshake_flights = 1;
  TlsClient tls = connect(options);
  Fd& socket = tls.socket();
  int cork = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
  tls.finish_handshake();
  ASSERT_TRUE(tls.send("ping"));
  cork = 0;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
  EXPECT_EQ(tls.receive(4), "ping");
  const Header header = backend.wait();
  tls.close_notify();
  tls.receive_all();
  EXPECT_EQ(header.segments, 1U);
  EXPECT_EQ(header.waiting, header.bytes.size() + 4);
}

// Of the header that a proxy in front sent, the backend gets the addresses alone.
// In the clear, in front of the gateway's own handshake with the backend.
TEST_F(ProxyHeaders, GoBeforeTheHandshakeWithABackend) {
  constexpr char kBehind[] = "spiffe://example.org/ns/shop/sa/orders";
  HeaderBackend backend("127.0.0.1:0", over_tls({.certificate = root.issue({.spiffe = {kBehind}}),
                                                 .client_ca = root.cert_pem()},
                                                echo_over_tls));
  const std::string tls = R"(, "backend-tls": {"verify": [")" + std::string(kBehind) + "\"]}";
  start_with(backend, R"({"tlvs": ["identity", "unique_id"]})" + tls);
  TlsClient asking = connect_h2();
  EXPECT_TRUE(asking.echo(pseudo_random(300'000, 1)));
  const Header header = backend.wait();
  EXPECT_EQ(header.source, asking.local_address());
  EXPECT_EQ(header.destination, gateway->address());
  EXPECT_EQ(header.tlvs.at(kIdentity), kWeb);
  asking.close_notify();
  EXPECT_EQ(asking.receive_all(), "");
  EXPECT_EQ(asking.end(), TlsEnd::kCloseNotify);
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(line.at("backend_identity"), kBehind);
  EXPECT_EQ(header.tlvs.at(kUniqueId), line.at("id"));
  EXPECT_EQ(headers("send", "success"), 1);
}

TEST_F(ProxyHeaders, TellWhatAProxyInFrontSaid) {
  HeaderBackend backend;
  start_with(backend, "\"v2\"", {"--accept-proxy", "127.0.0.0/8"});
  Fd socket = connect_to(gateway->address());
  const std::string addresses("\xc0\x00\x02\x01\xc6\x33\x64\x02\x01\x02\x01\xbb", 12);
  const std::string stray("\xe1\x00\x05stray", 8);
  send_all(socket,
           std::string(kHeaderSignature) + std::string("\x21\x11\x00\x14", 4) + addresses + stray);
  ClientOptions options = as(client);
  options.alpn = {"h2"};
  TlsClient tls(std::move(socket), options);
  EXPECT_TRUE(tls.echo("ping"));
  const Header header = backend.wait();
  EXPECT_EQ(header.source, "192.0.2.1:258");
  EXPECT_EQ(header.destination, "198.51.100.2:443");
  EXPECT_FALSE(header.tlvs.contains(0xE1));
  EXPECT_EQ(header.tlvs.at(kIdentity), kWeb);
}

TEST_F(ProxyHeaders, AreNotSentByOtherRoutes) {
  Backend plain(echo());
  discover({DiscoveryGroup{{plain.address()}, {{"route", "any"}}}});
  start(with_policy("\"v2\""));
  ClientOptions other = as(client);
  other.sni = "elsewhere.example.org";
  EXPECT_TRUE(served(other));
  EXPECT_EQ(headers("send", "success"), 0);
}

TEST_F(ProxyHeaders, ChangeOnlyForNewConnections) {
  HeaderBackend backend;
  start_with(backend);
  TlsClient before = connect_h2();
  EXPECT_TRUE(before.echo("ping"));
  const double reloaded = reloads("success", "policy");
  with_policy(R"({"tlvs": []})");
  wait_reload("success", reloaded, "policy");
  EXPECT_TRUE(before.echo("pong"));
  TlsClient after = connect_h2();
  EXPECT_TRUE(after.echo("ping"));
  EXPECT_FALSE(backend.wait(0).tlvs.empty());
  EXPECT_TRUE(backend.wait(1).tlvs.empty());
}

TEST_F(ProxyHeaders, AreBornAtZero) {
  HeaderBackend backend;
  start_with(backend);
  const Metrics metrics = gateway->metrics();
  for (const char* result :
       {"success", "proxy_header_invalid", "unexpected_message", "handshake_timeout"}) {
    EXPECT_TRUE(metrics.has("proxy_headers_total", {{"direction", "receive"}, {"result", result}}));
  }
  for (const char* result : {"success", "failed", "internal_error"}) {
    EXPECT_TRUE(metrics.has("proxy_headers_total", {{"direction", "send"}, {"result", result}}));
  }
  EXPECT_EQ(metrics.sum("proxy_headers_total"), 0);
}

}  // namespace
}  // namespace sallyport::test
