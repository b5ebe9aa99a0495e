// PROXY headers among programs that speak them: HAProxy and nginx take ours, and all three make the
// same of what a proxy in front may send.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/e2e/peers/peer_scenario.h"
#include "tests/e2e/peers/redis_server.h"

namespace sallyport::test {
namespace {

using namespace std::string_literals;

bool listens(const std::string& address) {
  try {
    connect_to(address);
    return true;
  } catch (const TestFailure&) {
    return false;
  }
}

// "1.22.1" of what a program says of itself, as a number to compare.
int version_of(std::string_view text, std::string_view before) {
  const std::size_t at = text.find(before);
  if (at == std::string_view::npos) throw TestFailure("no version in " + std::string(text));
  int parts[3] = {};
  std::sscanf(std::string(text.substr(at + before.size())).c_str(), "%d.%d.%d", &parts[0],
              &parts[1], &parts[2]);
  return (parts[0] * 1000 + parts[1]) * 1000 + parts[2];
}

/// HAProxy with one frontend of this configuration, which takes PROXY headers. Logs on its stdout.
class Haproxy {
 public:
  Haproxy(const TempDir& dir, const std::string& frontend) {
    start_on_free_port("haproxy", [&](const std::string& address) {
      address_ = address;
      const std::string file = dir.write("haproxy.cfg", R"(
global
  log stdout format raw local0
defaults
  log global
  timeout client 60s
  timeout server 60s
  timeout connect 60s
frontend front
  bind )" + address + " accept-proxy\n" + frontend + "\n");
      process_ = std::make_unique<Process>(std::vector<std::string>{"haproxy", "-db", "-f", file});
      eventually([&] { return listens(address) || !process_->running(); });
      return process_->running();
    });
  }
  static int version() { return version_of(run({"haproxy", "-v"}).out, "version "); }
  static constexpr int kAnyTlv = 2'009'000;  // fc_pp_tlv()

  const std::string& address() const { return address_; }
  Process& process() { return *process_; }

 private:
  std::string address_;
  std::unique_ptr<Process> process_;
};

/// nginx that takes PROXY headers and answers each HTTP request with this text of variables.
class Nginx {
 public:
  Nginx(const TempDir& dir, const std::string& answer) {
    start_on_free_port("nginx", [&](const std::string& address) {
      address_ = address;
      const std::string own = dir / ".";
      const std::string file = dir.write("nginx.conf",
                                         "daemon off; master_process off;\n"
                                         "pid " +
                                             own +
                                             "/nginx.pid; error_log stderr crit;\n"
                                             "events {}\n"
                                             "http { access_log off;\n"
                                             "client_body_temp_path " +
                                             own + "/body; proxy_temp_path " + own +
                                             "/proxy;\n"
                                             "fastcgi_temp_path " +
                                             own + "/fastcgi; uwsgi_temp_path " + own +
                                             "/uwsgi;\n"
                                             "scgi_temp_path " +
                                             own +
                                             "/scgi;\n"
                                             "server { listen " +
                                             address +
                                             " proxy_protocol;\n"
                                             "location / { return 200 \"" +
                                             answer + "\"; } } }\n");
      process_ = std::make_unique<Process>(
          std::vector<std::string>{"nginx", "-e", "stderr", "-p", own, "-c", file});
      eventually([&] { return listens(address) || !process_->running(); });
      return process_->running();
    });
  }
  static int version() { return version_of(run({"nginx", "-v"}).err, "nginx/"); }
  static constexpr int kAnyTlv = 1'023'002;  // $proxy_protocol_tlv_...

  const std::string& address() const { return address_; }

 private:
  std::string address_;
  std::unique_ptr<Process> process_;
};

constexpr char kNginxEnds[] =
    "$proxy_protocol_addr:$proxy_protocol_port>"
    "$proxy_protocol_server_addr:$proxy_protocol_server_port";
constexpr char kRequest[] = "GET / HTTP/1.0\r\n\r\n";

// The body of a 200; empty: anything else.
std::string body_of(const std::string& answer) {
  const std::size_t head = answer.find("\r\n\r\n");
  const bool good = answer.starts_with("HTTP/1.") && answer.substr(8, 5) == " 200 ";
  return good && head != std::string::npos ? answer.substr(head + 4) : "";
}

class ProxyReceivers : public PeerScenario {
 protected:
  void start_with_header(const std::string& target, const std::vector<std::string>& given = {},
                         const std::string& rule = "\"v2\"") {
    discover({target});
    std::vector<std::string> all{"--policy",
                                 dir.write("policy.json", R"({"routes": {"orders": {"alpn": ["h2"],
                        "allow": ["spiffe://example.org/**"], "proxy-protocol": )" +
                                                              rule + "}}}")};
    all.insert(all.end(), given.begin(), given.end());
    start(all);
  }
  ClientOptions with_h2() const {
    ClientOptions options = as(client);
    options.alpn = {"h2"};
    return options;
  }
};

TEST_F(ProxyReceivers, HaproxyInFrontOfARealRedisKnowsEachClient) {
  constexpr int kClients = 20;
  const RedisServer redis(dir);
  const bool any_tlv = Haproxy::version() >= Haproxy::kAnyTlv;
  Haproxy haproxy(dir, R"(
  mode tcp
  log-format "%ci:%cp %fi:%fp %[fc_pp_authority] %[fc_pp_unique_id])" +
                           (any_tlv ? " %[fc_pp_tlv(0xE0)]"s : ""s) + R"("
  default_backend redis
backend redis
  mode tcp
  server redis )" + redis.tcp());
  start_with_header(haproxy.address());
  for (int i = 0; i < kClients; ++i) {
    TlsClient tls = connect(with_h2());
    ASSERT_TRUE(tls.send("SET k" + std::to_string(i) + " v\r\n"));
    EXPECT_EQ(tls.receive(5), "+OK\r\n");
    tls.close_notify();
    tls.receive_all();
  }
  EXPECT_EQ(redis.executed(), kClients);
  for (const LogLine& line : gateway->wait_logs(kClients)) {
    EXPECT_EQ(line.at("reason"), "done");
    const std::string told = line.at("client") + " " + gateway->address() + " orders.example.org " +
                             line.at("id") + (any_tlv ? " " + line.at("identity") : "");
    haproxy.process().wait_out(told, [&](std::string_view out) { return out.contains(told); });
  }
}

TEST_F(ProxyReceivers, NginxKnowsEachClient) {
  const bool any_tlv = Nginx::version() >= Nginx::kAnyTlv;
  const std::string tlvs =
      " $proxy_protocol_tlv_authority $proxy_protocol_tlv_alpn $proxy_protocol_tlv_unique_id"
      " $proxy_protocol_tlv_ssl_version $proxy_protocol_tlv_ssl_cipher"
      " $proxy_protocol_tlv_ssl_cn $proxy_protocol_tlv_ssl_verify $proxy_protocol_tlv_0xE0";
  const Nginx nginx(dir, kNginxEnds + (any_tlv ? tlvs : ""s));
  start_with_header(nginx.address());
  TlsClient tls = connect(with_h2());
  ASSERT_TRUE(tls.send(kRequest));
  const std::string body = body_of(tls.receive_all());
  tls.close_notify();
  std::string expected = tls.local_address() + ">" + gateway->address();
  const LogLine line = gateway->wait_logs(1).front();
  if (any_tlv) {
    expected += " orders.example.org h2 " + line.at("id") + " " + line.at("tls") + " " +
                line.at("cipher") + " web 0 " + kWeb;
  }
  EXPECT_EQ(body, expected);
}

// A type that they do not know inside of one that they do, and a sum over all of it.
constexpr char kWithCertificate[] = R"({"tlvs": ["ssl", "client_cert", "authority", "crc32c"]})";

TEST_F(ProxyReceivers, HaproxyPassesOverTheClientsCertificate) {
  const RedisServer redis(dir);
  Haproxy haproxy(dir, R"(
  mode tcp
  log-format "%ci:%cp %[fc_pp_authority]"
  default_backend redis
backend redis
  mode tcp
  server redis )" + redis.tcp());
  start_with_header(haproxy.address(), {}, kWithCertificate);
  TlsClient tls = connect(with_h2());
  ASSERT_TRUE(tls.send("SET k v\r\n"));
  EXPECT_EQ(tls.receive(5), "+OK\r\n");
  const std::string told = tls.local_address() + " orders.example.org";
  tls.close_notify();
  tls.receive_all();
  haproxy.process().wait_out(told, [&](std::string_view out) { return out.contains(told); });
}

TEST_F(ProxyReceivers, NginxPassesOverTheClientsCertificate) {
  const bool any_tlv = Nginx::version() >= Nginx::kAnyTlv;
  const Nginx nginx(dir, kNginxEnds + (any_tlv ? " $proxy_protocol_tlv_authority"s : ""s));
  start_with_header(nginx.address(), {}, kWithCertificate);
  TlsClient tls = connect(with_h2());
  ASSERT_TRUE(tls.send(kRequest));
  const std::string body = body_of(tls.receive_all());
  tls.close_notify();
  EXPECT_EQ(body, tls.local_address() + ">" + gateway->address() +
                      (any_tlv ? " orders.example.org" : ""));
}

// ---- the same of every header

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
const std::string kIpv4 = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x01\x02\x01\xbb"s;
const std::string kIpv4Text = "192.0.2.1:258>198.51.100.2:443";

std::string binary(char command, char family, const std::string& block) {
  return kSignature + command + family + static_cast<char>(block.size() >> 8) +
         static_cast<char>(block.size() & 0xff) + block;
}
// A TLV crc32c at the end of `block` gets its value, changed by `change`.
std::string summed(std::string header, std::uint32_t change = 0) {
  std::uint32_t crc = ~0U;
  for (const char byte : header) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0);
  }
  crc = ~crc ^ change;
  for (std::size_t i = 0; i < 4; ++i)
    header[header.size() - 4 + i] = static_cast<char>(crc >> (24 - 8 * i) & 0xffU);
  return header;
}

const std::string kIpv6 = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01"s +
                          "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x02"s +
                          "\x01\x02\x01\xbb"s;
const std::string kSum = "\x03\x00\x04\x00\x00\x00\x00"s;
const std::string kNameTlv = "\x02\x00\x04name"s;

class ProxyAgreement : public ProxyReceivers {
 protected:
  ProxyAgreement() { start_with_header(nginx.address(), {"--accept-proxy", "127.0.0.0/8"}); }
  // What a receiver makes of the header: its two ends, or empty where it refuses.
  static std::string ask(const std::string& receiver, const std::string& header) {
    const Fd socket = connect_to(receiver);
    std::string answer;
    try {
      send_all(socket, header + kRequest);
    } catch (const TestFailure&) {
      return "";  // it has reset already
    }
    receive_all(socket, answer);
    const std::string own = local_address(socket).to_string();
    std::string body = body_of(answer);
    if (const std::size_t at = body.find(own + ">"); at == 0) body = "the socket's";
    return body == ":>:" ? "the socket's" : body;  // nginx
  }
  // Of the gateway: nginx says what it was told.
  std::string ask_gateway(const std::string& header) const {
    Fd socket = connect_to(gateway->address());
    const std::string own = local_address(socket).to_string();
    try {
      send_all(socket, header);
      TlsClient tls(std::move(socket), with_h2());
      if (!tls.connected() || !tls.send(kRequest)) return "";
      const std::string body = body_of(tls.receive_all());
      return body == own + ">" + gateway->address() ? "the socket's" : body;
    } catch (const TestFailure&) {
      return "";
    }
  }

  Haproxy haproxy{dir, R"(
  mode http
  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]>%[dst]:%[dst_port]")"};
  Nginx nginx{dir, kNginxEnds};
};

TEST_F(ProxyAgreement, OnWhatTheSpecificationDefines) {
  const std::string six = "2001:db8::1:258>2001:db8::2:443";
  const std::string own = "the socket's";
  const std::pair<std::string, std::string> headers[] = {
      {"PROXY TCP4 192.0.2.1 198.51.100.2 258 443\r\n", kIpv4Text},
      {"PROXY TCP6 2001:db8::1 2001:db8::2 258 443\r\n", six},
      {"PROXY UNKNOWN\r\n", own},
      {binary('\x21', '\x11', kIpv4), kIpv4Text},
      {binary('\x21', '\x21', kIpv6), six},
      {binary('\x21', '\x11', kIpv4 + kNameTlv), kIpv4Text},
      {summed(binary('\x21', '\x11', kIpv4 + kNameTlv + kSum)), kIpv4Text},
      {binary('\x20', '\0', ""), own},
      {binary('\x20', '\0', kNameTlv), own},  // anything else HAProxy 3.0 refuses there
  };
  for (const auto& [header, ends] : headers) {
    EXPECT_EQ(ask(haproxy.address(), header), ends) << header;
    EXPECT_EQ(ask(nginx.address(), header), ends) << header;
    EXPECT_EQ(ask_gateway(header), ends) << header;
  }
}

// nginx looks neither at TLVs nor at a checksum, and takes some unassigned values for no address.
TEST_F(ProxyAgreement, OnWhatIsWrong) {
  enum Refuses { kAll, kNotNginx };
  const std::pair<std::string, Refuses> headers[] = {
      {binary('\x11', '\x11', kIpv4), kAll},
      {binary('\x21', '\x11', kIpv4.substr(1)), kAll},
      {binary('\x21', '\x21', kIpv4), kAll},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 258 443\n", kAll},
      {"PROXY TCP4  192.0.2.1 198.51.100.2 258 443\r\n", kAll},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 258 443 \r\n", kAll},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 258\r\n", kAll},
      {"PROXY TCP5 192.0.2.1 198.51.100.2 258 443\r\n", kAll},
      {"proxy TCP4 192.0.2.1 198.51.100.2 258 443\r\n", kAll},
      {"PROXY garbage\r\n", kAll},
      {"", kAll},
      {summed(binary('\x21', '\x11', kIpv4 + kSum), 1), kNotNginx},
      {binary('\x21', '\x11', kIpv4 + "\x03\x00\x00"s), kNotNginx},
      {binary('\x21', '\x11', kIpv4 + "\x02"s), kNotNginx},
      {binary('\x21', '\x11', kIpv4 + "\x02\x00\x05name"s), kNotNginx},
      {binary('\x22', '\x11', kIpv4), kNotNginx},
      {binary('\x21', '\x41', kIpv4), kNotNginx},
      {binary('\x21', '\x13', kIpv4), kNotNginx},
      {"PROXY UNKNOWN " + std::string(100, 'x') + "\r\n", kNotNginx},
      {"PROXY UNKNOWNX\r\n", kNotNginx},
  };
  double refused = 0;
  for (const auto& [header, by] : headers) {
    EXPECT_EQ(ask(haproxy.address(), header), "") << header;
    if (by == kAll) EXPECT_EQ(ask(nginx.address(), header), "") << header;
    EXPECT_EQ(ask_gateway(header), "") << header;
    gateway->wait_metric("connections_closed_total", {{"reason", "proxy_header_invalid"}},
                         ++refused);
  }
}

}  // namespace
}  // namespace sallyport::test
