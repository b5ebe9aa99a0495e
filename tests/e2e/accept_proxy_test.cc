// --accept-proxy: a proxy in front says who the client is, and nobody else can.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <utility>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

using namespace std::string_literals;

constexpr char kProxy[] = "127.0.0.9:0";
const std::string kTextHeader = "PROXY TCP4 192.0.2.1 198.51.100.2 258 443\r\n";
const std::string kBinarySignature("\r\n\r\n\0\r\nQUIT\n", 12);
const std::string kAddresses = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x01\x02\x01\xbb"s;
const std::string kClient = "192.0.2.1:258";

std::string binary(char command, char family, const std::string& block) {
  return kBinarySignature + command + family + static_cast<char>(block.size() >> 8) +
         static_cast<char>(block.size() & 0xff) + block;
}

void set_tcp(const Fd& socket, int option, int value) {
  ::setsockopt(socket.get(), IPPROTO_TCP, option, &value, sizeof value);
}

class AcceptProxy : public Scenario {
 protected:
  Backend backend{echo()};

  Gateway& start_trusting(const std::vector<std::string>& given = {}) {
    std::vector<std::string> all{"--accept-proxy", "127.0.0.9/32"};
    all.insert(all.end(), given.begin(), given.end());
    return start_for(backend, all);
  }
  Fd by_proxy() const { return connect_to(gateway->address(), kProxy); }
  Fd by_proxy(const std::string& header) const {
    Fd socket = by_proxy();
    send_all(socket, header);
    return socket;
  }
  double headers(const std::string& result) const {
    return gateway->metrics().sum("proxy_headers_total",
                                  {{"direction", "receive"}, {"result", result}});
  }
  // What becomes of a connection by the proxy that begins with `header` and then speaks TLS.
  LogLine line_of(const std::string& header) {
    TlsClient tls(by_proxy(header), as(client));
    const std::string socket = tls.local_address();
    EXPECT_TRUE(tls.echo("ping")) << tls.tls_error();
    tls.close_notify();
    tls.receive_all();
    LogLine found;
    wait_until("its line", [&] {
      for (const LogLine& line : gateway->connection_log()) {
        const auto proxy = line.find("proxy");
        const bool proxied = proxy != line.end() && proxy->second == socket;
        if (proxied || line.at("client") == socket) found = line;
      }
      return !found.empty();
    });
    EXPECT_EQ(found.at("reason"), "done");
    return found;
  }
};

TEST_F(AcceptProxy, TakesTheClientsAddressFromEitherVersion) {
  start_trusting();
  for (const std::string& header :
       {kTextHeader, binary('\x21', '\x11', kAddresses),
        binary('\x21', '\x11', kAddresses + "\x02\x00\x04name\xe0\x00\x01x"s)}) {
    const LogLine line = line_of(header);
    EXPECT_EQ(line.at("client"), kClient);
    EXPECT_TRUE(line.at("proxy").starts_with("127.0.0.9:")) << line.at("proxy");
  }
  EXPECT_EQ(line_of("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n").at("client"), "[2001:db8::1]:1");
  EXPECT_EQ(headers("success"), 4);
}

TEST_F(AcceptProxy, ShowsBothAddressesOfALiveConnection) {
  start_trusting();
  TlsClient tls(by_proxy(kTextHeader), as(client));
  ASSERT_TRUE(tls.echo("ping"));
  const auto live = parse_objects(gateway->get("/connections").body);
  ASSERT_EQ(live.size(), 1U);
  EXPECT_EQ(live[0].at("client"), kClient);
  EXPECT_EQ(live[0].at("proxy"), tls.local_address());
}

TEST_F(AcceptProxy, KeepsTheSocketsAddressOfLocalAndUnknown) {
  start_trusting();
  for (const std::string& header :
       {"PROXY UNKNOWN\r\n"s, binary('\x20', '\0', ""), binary('\x20', '\x11', kAddresses),
        binary('\x21', '\0', ""), binary('\x21', '\x31', std::string(216, 'u'))}) {
    const LogLine line = line_of(header);
    EXPECT_TRUE(line.at("client").starts_with("127.0.0.9:")) << line.at("client");
    EXPECT_FALSE(line.contains("proxy"));
  }
  EXPECT_EQ(headers("success"), 5);
}

TEST_F(AcceptProxy, TakesAHeaderByteByByte) {
  start_trusting();
  for (const std::string& header : {kTextHeader, binary('\x21', '\x11', kAddresses)}) {
    Fd socket = by_proxy();
    set_tcp(socket, TCP_NODELAY, 1);
    for (const char byte : header) send_all(socket, {&byte, 1});
    TlsClient tls(std::move(socket), as(client));
    EXPECT_TRUE(tls.echo("ping"));
  }
  EXPECT_EQ(headers("success"), 2);
}

TEST_F(AcceptProxy, TakesAHeaderAndTheClientHelloInOneSegment) {
  start_trusting();
  for (const std::string& header : {kTextHeader, binary('\x21', '\x11', kAddresses)}) {
    Fd socket = by_proxy();
    set_tcp(socket, TCP_CORK, 1);
    send_all(socket, header);
    ClientOptions options = as(client);
    options.handshake_flights = 1;
    TlsClient tls(std::move(socket), std::move(options));
    set_tcp(tls.socket(), TCP_CORK, 0);
    tls.finish_handshake();
    EXPECT_TRUE(tls.echo("ping"));
    tls.close_notify();
    tls.receive_all();
  }
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("client"), kClient);
}

TEST_F(AcceptProxy, ResetsWhatBeginsOtherwise) {
  start_trusting();
  const std::pair<std::string, std::string> wrong[] = {
      {"PROXY TCP4 nonsense\r\n", "a PROXY line without two addresses and two ports"},
      {"PROXY TCP4 192.0.2.1 198.51.100.2 258 443\n", "a PROXY line without CR and LF at its end"},
      {"PROXY UNKNOWN " + std::string(100, 'x'), "a PROXY line of more than 107 bytes"},
      {binary('\x21', '\x11', "short"), "a PROXY header too short for its addresses"},
      {binary('\x21', '\x11', kAddresses + "\x03\x00\x04\x00\x00\x00\x00"s),
       "a PROXY header with a wrong checksum"},
      {kBinarySignature + "\x21\x11\x04\x00"s, "a PROXY header of more than 1024 bytes"},
      {binary('\x23', '\x11', kAddresses),
       "a PROXY header of another version than 2, or of an unknown command"},
      {"GET / HTTP/1.1\r\n\r\n", "not a PROXY header"},
      {"\x16\x03\x01\x02\x00\x01", "not a PROXY header"},
  };
  for (const auto& [header, detail] : wrong) {
    const Fd socket = by_proxy(header);
    const std::string address = local_address(socket).to_string();
    std::string answer;
    EXPECT_EQ(receive_all(socket, answer), StreamEnd::kReset) << detail;
    EXPECT_EQ(answer, "");
    const LogLine line = gateway->wait_log({{"client", address}});
    EXPECT_EQ(line.at("reason"), "proxy_header_invalid");
    EXPECT_EQ(line.at("detail"), detail);
  }
  EXPECT_EQ(headers("proxy_header_invalid"), 9);
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("connections_closed_total", {{"reason", "proxy_header_invalid"}}), 9);
  EXPECT_EQ(metrics.sum("tls_handshakes_total"), 0);
  EXPECT_EQ(backend.accepted(), 0);
}

TEST_F(AcceptProxy, ResetsAHeaderThatEndsTooEarly) {
  start_trusting();
  for (const std::size_t size : {std::size_t{1}, std::size_t{12}, kTextHeader.size() - 1}) {
    const Fd socket = by_proxy(kTextHeader.substr(0, size));
    ::shutdown(socket.get(), SHUT_WR);
    std::string answer;
    EXPECT_EQ(receive_all(socket, answer), StreamEnd::kReset);
    EXPECT_EQ(gateway->wait_log({{"client", local_address(socket).to_string()}}).at("detail"),
              "ended within its PROXY header");
  }
}

TEST_F(AcceptProxy, TakesProbesForWhatTheyAre) {
  start_trusting();
  for (const std::string& sent : {""s, binary('\x20', '\0', ""), kTextHeader}) {
    const Fd socket = by_proxy(sent);
    ::shutdown(socket.get(), SHUT_WR);
    std::string answer;
    receive_all(socket, answer);
  }
  gateway->wait_logs(3);
  for (const LogLine& line : gateway->connection_log()) {
    EXPECT_EQ(line.at("reason"), "closed_before_hello");
  }
  EXPECT_EQ(headers("success"), 2);
  EXPECT_EQ(gateway->metrics().sum("tls_handshakes_total"), 0);
}

TEST_F(AcceptProxy, WaitsForAHeaderNoLongerThanForAHandshake) {
  start_trusting({"--handshake-timeout", "300ms"});
  for (const std::string& sent : {""s, kTextHeader.substr(0, 20), binary('\x21', '\x11', "")}) {
    const Fd socket = by_proxy(sent.substr(0, 15));
    std::string answer;
    receive_all(socket, answer);
    const LogLine line = gateway->wait_log({{"client", local_address(socket).to_string()}});
    EXPECT_EQ(line.at("reason"), "handshake_timeout");
    EXPECT_EQ(line.at("detail"), "no whole PROXY header received");
  }
  EXPECT_EQ(headers("handshake_timeout"), 3);
  EXPECT_EQ(gateway->metrics().sum("tls_handshakes_total", {{"result", "handshake_timeout"}}), 3);
}

TEST_F(AcceptProxy, RefusesHeadersOfAnyoneElse) {
  start_trusting();
  int refused = 0;
  for (const std::string& header : {kTextHeader, binary('\x21', '\x11', kAddresses)}) {
    for (const std::size_t first : {header.size(), std::size_t{1}}) {
      const Fd socket = connect_to(gateway->address());
      set_tcp(socket, TCP_NODELAY, 1);
      send_all(socket, header.substr(0, first));
      std::string answer;
      receive(socket, answer, 7);
      EXPECT_EQ(answer, "\x15\x03\x03\x00\x02\x02\x0a"s) << "the alert unexpected_message";
      const std::string address = local_address(socket).to_string();
      ::shutdown(socket.get(), SHUT_WR);
      const LogLine line = gateway->wait_log({{"client", address}});
      EXPECT_EQ(line.at("reason"), "unexpected_message");
      EXPECT_TRUE(line.at("detail").starts_with("a PROXY header, from")) << line.at("detail");
      EXPECT_EQ(headers("unexpected_message"), ++refused);
    }
  }
  EXPECT_EQ(backend.accepted(), 0);
  EXPECT_TRUE(served()) << "who needs none";
}

TEST_F(AcceptProxy, RefusesASecondHeader) {
  start_trusting();
  const Fd socket = by_proxy(kTextHeader + kTextHeader);
  std::string answer;
  receive(socket, answer, 7);
  ::shutdown(socket.get(), SHUT_WR);
  const LogLine line = gateway->wait_log({{"client", kClient}});
  EXPECT_EQ(line.at("reason"), "unexpected_message");
  EXPECT_TRUE(line.at("proxy").starts_with("127.0.0.9:"));
}

TEST_F(AcceptProxy, WithoutTheFlagTakesNoHeaderAtAll) {
  start_for(backend);
  const Fd socket = by_proxy(kTextHeader);
  std::string answer;
  receive(socket, answer, 7);
  ::shutdown(socket.get(), SHUT_WR);
  EXPECT_EQ(gateway->wait_log({{"client", local_address(socket).to_string()}}).at("reason"),
            "unexpected_message");
}

TEST_F(AcceptProxy, IsReadFromAFileAndWarnedOfWhereItIsEverything) {
  discover({backend.address()});
  const std::string file =
      dir.write("gateway.conf", "accept-proxy = 0.0.0.0/0\naccept-proxy = ::/0\n");
  const Finished checked = run_sallyport(flags({"--config", file, "--check"}));
  EXPECT_EQ(checked.status, 0) << checked.err;
  for (const std::string all : {"0.0.0.0/0", "::/0"}) {
    EXPECT_TRUE(checked.err.contains("--accept-proxy " + all + ": whoever can connect"))
        << checked.err;
    EXPECT_TRUE(checked.out.contains(" accept-proxy=" + all)) << checked.out;
  }
  start({"--config", file});
  gateway->wait_err({"warning", "--accept-proxy 0.0.0.0/0: whoever can connect"});
  EXPECT_EQ(line_of(kTextHeader).at("client"), kClient);
}

}  // namespace
}  // namespace sallyport::test
