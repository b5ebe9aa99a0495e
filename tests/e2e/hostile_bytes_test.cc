// What is not TLS, not all of it, or tampered with: ended with its own word, never served, and
// never at the cost of other clients.
#include <openssl/ssl.h>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class HostileBytes : public Scenario {
 protected:
  Backend backend{echo()};

  /// The reason with which the gateway ended the connection of this raw socket.
  std::string reason_of(const Fd& socket) {
    return gateway->wait_log({{"client", local_address(socket).to_string()}}).at("reason");
  }

  /// The first 200 bytes of a well-formed ClientHello, as our client would send it.
  std::string client_hello() const {
    std::string hello;
    {
      Backend catcher([&hello](Fd& socket) {
        receive(socket, hello, 200);
        socket.reset();
      });
      const TlsClient tls(catcher.address(), as(client));
    }
    return hello;
  }
};

TEST_F(HostileBytes, PlaintextHttpIsRefusedInItsOwnWord) {
  start_for(backend);
  const Fd socket = connect_to(gateway->address());
  send_all(socket, "GET / HTTP/1.1\r\nHost: orders.example.org\r\n\r\n");
  std::string answer;
  receive_all(socket, answer);
  EXPECT_EQ(reason_of(socket), "unexpected_message");
  EXPECT_TRUE(served());
}

TEST_F(HostileBytes, GarbageOfManyShapesNeverReachesTheBackend) {
  start_for(backend);
  for (unsigned seed = 0; seed < 24; ++seed) {
    std::string garbage = pseudo_random(1 + seed * 97, seed);
    if (seed % 3 == 1) garbage = std::string("\x16\x03\x01\x00\x30", 5) + garbage;
    if (seed % 3 == 2) garbage = std::string("\x17\x03\x03\x40\x00", 5) + garbage;
    const Fd socket = connect_to(gateway->address());
    send_all(socket, garbage);
    ::shutdown(socket.get(), SHUT_WR);
    std::string answer;
    receive_all(socket, answer);
    const std::string reason = reason_of(socket);
    EXPECT_TRUE(reason == "unexpected_message" || reason == "unknown_failure" ||
                reason == "peer_connection_closed" || reason == "protocol_version_unsupported")
        << seed << " " << reason;
  }
  EXPECT_EQ(backend.accepted(), 0);
  EXPECT_TRUE(served());
}

TEST_F(HostileBytes, HalfAClientHelloAndSilenceEndsInHandshakeTimeout) {
  start_for(backend, {"--handshake-timeout", "300ms"});
  const std::string hello = client_hello();
  const Fd socket = connect_to(gateway->address());
  send_all(socket, std::string_view(hello).substr(0, hello.size() / 2));
  std::string answer;
  receive_all(socket, answer);
  EXPECT_EQ(reason_of(socket), "handshake_timeout");
  gateway->wait_metric("tls_handshakes_total", {{"result", "handshake_timeout"}}, 1);
}

TEST_F(HostileBytes, SilenceFromTheStartEndsInHandshakeTimeout) {
  start_for(backend, {"--handshake-timeout", "300ms"});
  const Fd socket = connect_to(gateway->address());
  std::string answer;
  receive_all(socket, answer);
  EXPECT_EQ(reason_of(socket), "handshake_timeout");
}

TEST_F(HostileBytes, AClientThatGoesAwayMidHandshakeIsPeerConnectionClosed) {
  start_for(backend);
  const std::string hello = client_hello();
  for (const std::size_t size : {std::size_t{1}, std::size_t{5}, hello.size() / 2}) {
    Fd socket = connect_to(gateway->address());
    send_all(socket, std::string_view(hello).substr(0, size));
    ::shutdown(socket.get(), SHUT_WR);
    std::string answer;
    receive_all(socket, answer);
    EXPECT_EQ(reason_of(socket), "peer_connection_closed") << size;
  }
}

TEST_F(HostileBytes, AConnectionWithoutAByteIsNoHandshake) {
  start_for(backend);
  std::string from;
  {
    const Fd socket = connect_to(gateway->address());
    from = local_address(socket).to_string();
  }
  EXPECT_EQ(gateway->wait_log({{"client", from}}).at("reason"), "closed_before_hello");
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("connections_closed_total", {{"reason", "closed_before_hello"}}), 1);
  EXPECT_EQ(metrics.sum("tls_handshakes_total"), 0);
}

TEST_F(HostileBytes, AResetWithoutAByteIsNoHandshakeEither) {
  start_for(backend);
  {
    Fd socket = connect_to(gateway->address());
    socket.reset();
  }
  gateway->wait_metric("connections_closed_total", {}, 1);
  EXPECT_EQ(gateway->metrics().sum("tls_handshakes_total"), 0);
}

TEST_F(HostileBytes, AHelloThatArrivesByteByByteIsServed) {
  start_for(backend);
  ClientOptions options = as(client);
  options.segment_below = 1;
  EXPECT_TRUE(served(options));
}

TEST_F(HostileBytes, Tls12IsRefusedWithProtocolVersion) {
  start_for(backend);
  ClientOptions options = as(client);
  options.min_version = TLS1_2_VERSION;
  options.max_version = TLS1_2_VERSION;
  TlsClient tls = connect(options);
  EXPECT_FALSE(tls.connected());
  EXPECT_EQ(tls.alert().value_or(-1), kProtocolVersion);
  gateway->wait_metric("tls_handshakes_total", {{"result", "protocol_version_unsupported"}}, 1);
}

TEST_F(HostileBytes, NoSharedSuiteIsCipherSuiteMismatch) {
  start_for(backend, {"--ciphersuites", "TLS_AES_256_GCM_SHA384"});
  ClientOptions options = as(client);
  options.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
  TlsClient tls = connect(options);
  EXPECT_FALSE(tls.connected());
  EXPECT_EQ(tls.alert().value_or(-1), kHandshakeFailure);
  gateway->wait_metric("tls_handshakes_total", {{"result", "cipher_suite_mismatch"}}, 1);
}

TEST_F(HostileBytes, NoSharedGroupIsKeyExchangeFailure) {
  start_for(backend, {"--groups", "X25519"});
  ClientOptions options = as(client);
  options.groups = "P-384";
  TlsClient tls = connect(options);
  EXPECT_FALSE(tls.connected());
  EXPECT_EQ(tls.alert().value_or(-1), kHandshakeFailure);
  gateway->wait_metric("tls_handshakes_total", {{"result", "key_exchange_failure"}}, 1);
}

TEST_F(HostileBytes, ATamperedFlightIsDecryptionFailed) {
  start_for(backend);
  ClientOptions options = as(client);
  options.tamper = [](std::string& ciphertext, std::size_t flight) {
    if (flight == 1) ciphertext.back() = static_cast<char>(ciphertext.back() ^ 1);
  };
  TlsClient tls = connect(options);
  tls.receive(1);
  EXPECT_EQ(tls.alert().value_or(-1), kBadRecordMac);
  gateway->wait_metric("tls_handshakes_total", {{"result", "decryption_failed"}}, 1);
  EXPECT_EQ(backend.accepted(), 0);
}

TEST_F(HostileBytes, ATamperedRecordOfDataEndsTheConnectionWithItsAlert) {
  start_for(backend);
  ClientOptions options = as(client);
  options.tamper = [](std::string& ciphertext, std::size_t flight) {
    if (flight == 3) ciphertext.back() = static_cast<char>(ciphertext.back() ^ 1);
  };
  TlsClient tls = connect(options);
  ASSERT_TRUE(tls.connected());
  ASSERT_TRUE(tls.echo("first"));  // flight 2
  tls.send("second");              // flight 3, broken
  EXPECT_EQ(tls.receive(1), "");
  EXPECT_EQ(tls.end(), TlsEnd::kAlert);
  EXPECT_EQ(tls.alert().value_or(-1), kBadRecordMac);
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "record_error");
}

TEST_F(HostileBytes, AClientThatDistrustsUsIsLoggedWithItsAlert) {
  start_for(backend);
  ClientOptions options = as(client);
  options.trust_pem = TestAuthority("Other Root").cert_pem();
  TlsClient tls = connect(options);
  EXPECT_FALSE(tls.connected());
  const LogLine line = gateway->wait_log({{"client", tls.local_address()}});
  EXPECT_EQ(line.at("reason"), "peer_connection_closed");
  EXPECT_TRUE(line.contains("detail"));
}

}  // namespace
}  // namespace sallyport::test
