// TLS behind PostgreSQL's SSLRequest, with clients and with backends: serve() without a process
// around it.
#include "gateway/connection/starttls.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/gateway/connection/serve_fixture.h"
#include "tests/support/gateway.h"
#include "tests/support/postgresql.h"
#include "tests/support/tls_backend.h"

namespace sallyport::gateway {
namespace {

using test::Backend;
using test::Fd;
using test::kCancelRequest;
using test::kGssencRequest;
using test::kSslRequest;
using test::kStartupMessage;
using test::TlsClient;

constexpr int kNoApplicationProtocolAlert = 120;

class StarttlsFixture : public ServeTest {
 protected:
  StarttlsFixture() : ServeTest(HandshakeLimits().memory) {}

  void serve_to(const std::string& target) {
    Snapshot snapshot;
    snapshot.credentials = pki_.load().value();
    Route orders = route("orders");
    orders.alpn = alpn_;
    orders.takes_no_offer = !alpn_.empty();
    orders.backend_tls = rule_;
    orders.endpoint_rules.ejection.reset();
    snapshot.policy = *Policy::build({std::move(orders)});
    snapshot.endpoints = EndpointSet::build(
        *parse_discovery(test::discovery_json({{{target}, {{"route", "orders"}}}}), "groups"), {},
        nullptr);
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
    state_.backend_tls = std::make_shared<const std::vector<std::shared_ptr<ktls::ClientContext>>>(
        1, rule_ ? pki_.client_context() : nullptr);
  }

  Fd connect_plain() const { return test::connect_to(listener_->address().to_string()); }
  TlsClient shake_hands(Fd socket, std::vector<std::string> alpn = {}) const {
    return {std::move(socket),
            {.certificate = pki_.authority.issue({.dns = {"known.test"}}),
             .sni = "orders.test",
             .alpn = std::move(alpn)}};
  }
  static std::string answer(const Fd& socket, const std::string& request) {
    test::send_all(socket, request);
    std::string answered;
    test::receive(socket, answered, 1);
    return answered;
  }
  static void expect_echo(TlsClient client) {
    EXPECT_TRUE(client.echo("hello"));
    client.close_notify();
    client.receive_all();
    EXPECT_EQ(client.end(), test::TlsEnd::kCloseNotify);
  }
  const ConnectionFacts& facts() const { return log_.records.at(0); }
  std::string reason() const { return std::string(to_string(facts().reason)); }

  std::vector<std::string> alpn_;
  std::optional<BackendTls> rule_;
};

// ---- clients

class Starttls : public StarttlsFixture {
 protected:
  void SetUp() override {
    StarttlsFixture::SetUp();
    serve_to(backend_.address());
    served_.starttls_postgresql = true;
  }
  // What is sent in plaintext, each piece once the one before is answered, by a byte; the last one
  // is not answered.
  void send_in_vain(const std::vector<std::string>& pieces) {
    serve_clients([&] {
      const Fd socket = connect_plain();
      for (const std::string& piece : pieces) {
        if (&piece != &pieces.back()) {
          EXPECT_EQ(answer(socket, piece), "N");
          continue;
        }
        test::send_all(socket, piece);
        std::string nothing;
        EXPECT_EQ(test::receive_all(socket, nothing), test::StreamEnd::kFin);
        EXPECT_EQ(nothing, "");
      }
    });
    EXPECT_EQ(backend_.accepted(), 0) << "not a byte to a backend";
  }
  void expect_refused(const std::vector<std::string>& pieces, const std::string& why) {
    send_in_vain(pieces);
    EXPECT_EQ(reason(), "unexpected_message");
    EXPECT_EQ(facts().detail, why);
    const std::string scrape = registry_.scrape();
    EXPECT_NE(
        scrape.find("sallyport_tls_handshakes_total{listener=\"listener\",result=\"unexpected_"
                    "message\",resumed=\"false\"} 1"),
        std::string::npos);
  }
  void expect_no_protocol(bool asks, std::vector<std::string> alpn) {
    serve_clients([&] {
      Fd socket = connect_plain();
      if (asks) EXPECT_EQ(answer(socket, kSslRequest), "S");
      TlsClient client = shake_hands(std::move(socket), std::move(alpn));
      EXPECT_EQ(client.alert(), kNoApplicationProtocolAlert);
    });
    EXPECT_EQ(reason(), "no_application_protocol");
    EXPECT_EQ(backend_.accepted(), 0);
  }

  Backend backend_{test::echo()};
};

TEST_F(Starttls, BeginsTlsBehindARequest) {
  serve_clients([this] {
    Fd socket = connect_plain();
    EXPECT_EQ(answer(socket, kSslRequest), "S");
    expect_echo(shake_hands(std::move(socket)));
  });
  EXPECT_EQ(reason(), "done");
  EXPECT_EQ(facts().identity, "dns:known.test");
  EXPECT_EQ(facts().received_bytes, 5U) << "the client's, without the request";
}

TEST_F(Starttls, RefusesGssapiFirst) {
  serve_clients([this] {
    Fd socket = connect_plain();
    EXPECT_EQ(answer(socket, kGssencRequest), "N");
    EXPECT_EQ(answer(socket, kSslRequest), "S");
    expect_echo(shake_hands(std::move(socket)));
  });
  EXPECT_EQ(reason(), "done");
}

TEST_F(Starttls, ConfirmsPostgresqlToWhoOffersIt) {
  serve_clients([this] {
    for (const bool asks : {true, false}) {
      Fd socket = connect_plain();
      if (asks) EXPECT_EQ(answer(socket, kSslRequest), "S");
      TlsClient client = shake_hands(std::move(socket), {"h2", "postgresql"});
      EXPECT_EQ(client.selected_alpn(), "postgresql");
      expect_echo(std::move(client));
    }
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"done"});
  EXPECT_EQ(facts().alpn, "postgresql");
}

// As PostgreSQL does: what does not say that it speaks PostgreSQL may be made to by somebody else.
TEST_F(Starttls, RefusesDirectTlsWithoutTheProtocol) {
  expect_no_protocol(false, {});
}
TEST_F(Starttls, RefusesDirectTlsForAnotherProtocol) {
  expect_no_protocol(false, {"http/1.1"});
}
TEST_F(Starttls, RefusesAnotherProtocolBehindARequest) {
  expect_no_protocol(true, {"h2"});
}

TEST_F(Starttls, LeavesTheProtocolToARouteThatNamesIt) {
  alpn_ = {"other"};
  serve_to(backend_.address());
  serve_clients([this] {
    TlsClient client = shake_hands(connect_plain(), {"postgresql", "other"});
    EXPECT_EQ(client.selected_alpn(), "other");
    expect_echo(std::move(client));
  });
  EXPECT_EQ(reason(), "done");
}

TEST_F(Starttls, RefusesACancelRequest) {
  expect_refused({kCancelRequest}, "a CancelRequest in plaintext");
}
TEST_F(Starttls, RefusesAStartupMessage) {
  expect_refused({kStartupMessage}, "a StartupMessage in plaintext");
}
TEST_F(Starttls, RefusesAStartupMessageBehindARefusedRequest) {
  expect_refused({kGssencRequest, kStartupMessage}, "a StartupMessage in plaintext");
}
TEST_F(Starttls, RefusesOtherProtocols) {
  expect_refused({"GET / HTTP/1.1\r\n\r\n"}, "neither PostgreSQL nor TLS");
}

// CVE-2021-23214.
TEST_F(Starttls, RefusesBytesBehindTheRequest) {
  expect_refused({kSslRequest + kStartupMessage},
                 "bytes behind a request for encryption, before its answer");
}
TEST_F(Starttls, RefusesBytesBehindTheFirstRequest) {
  expect_refused({kGssencRequest + kSslRequest},
                 "bytes behind a request for encryption, before its answer");
}

TEST_F(Starttls, IsAProbeWhereNothingIsSent) {
  serve_clients([this] {
    connect_plain();
    EXPECT_EQ(answer(connect_plain(), kSslRequest), "S");
    EXPECT_EQ(answer(connect_plain(), kGssencRequest), "N");
  });
  EXPECT_EQ(log_.records.size(), 3U);
  EXPECT_EQ(reasons(), std::set<std::string>{"closed_before_hello"});
}

TEST_F(Starttls, EndsWithAClientThatLeavesInTheMiddle) {
  serve_clients([this] { test::send_all(connect_plain(), kSslRequest.substr(0, 7)); });
  EXPECT_EQ(reason(), "peer_connection_closed");
  EXPECT_EQ(facts().detail, "ended within its request for encryption");
}

TEST_F(Starttls, IsWithinTheHandshakeTimeout) {
  timeouts_.handshake = std::chrono::milliseconds(500);  // one request is answered within it
  for (const std::string& sent : {std::string(), kSslRequest.substr(0, 3), kGssencRequest}) {
    log_.records.clear();
    serve_clients([&] {
      const Fd socket = connect_plain();
      test::send_all(socket, sent);
      std::string answered;
      EXPECT_EQ(test::receive_all(socket, answered), test::StreamEnd::kFin);
      EXPECT_EQ(answered, sent == kGssencRequest ? "N" : "");
    });
    EXPECT_EQ(reason(), "handshake_timeout");
    EXPECT_EQ(facts().detail, "neither SSLRequest nor a ClientHello received");
    listener_ = iouring::Listener::bind(*shard_.ring, listener_->address()).value();
    ASSERT_TRUE(listener_->listen());
  }
}

TEST_F(Starttls, ComesBehindTheProxyHeader) {
  const std::vector<iouring::IpNetwork> proxies{iouring::IpNetwork::parse("127.0.0.0/8").value()};
  state_.accept_proxy = proxies;
  const std::string header = "PROXY TCP4 192.0.2.1 198.51.100.2 258 5432\r\n";
  serve_clients([&] {
    Fd together = connect_plain();
    EXPECT_EQ(answer(together, header + kSslRequest), "S");
    expect_echo(shake_hands(std::move(together)));
    Fd apart = connect_plain();
    test::send_all(apart, header);
    EXPECT_EQ(answer(apart, kSslRequest), "S");
    expect_echo(shake_hands(std::move(apart)));
    Fd direct = connect_plain();
    test::send_all(direct, header);
    expect_echo(shake_hands(std::move(direct), {"postgresql"}));
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"done"});
  for (const ConnectionFacts& each : log_.records) EXPECT_EQ(each.client, "192.0.2.1:258");
}

TEST_F(Starttls, TakesNoProxyHeaderFromElsewhere) {
  expect_refused({"PROXY TCP4 192.0.2.1 198.51.100.2 258 5432\r\n" + kSslRequest},
                 "a PROXY header, from an address that --accept-proxy does not have, or behind "
                 "another one");
}

// Elsewhere an SSLRequest is nothing.
TEST_F(Starttls, IsForItsListenerOnly) {
  served_.starttls_postgresql = false;
  serve_clients([this] {
    const Fd socket = connect_plain();
    test::send_all(socket, kSslRequest);
    std::string answered;
    test::receive_all(socket, answered);
    EXPECT_TRUE(answered.empty() || answered[0] == '\x15') << "a TLS alert";
  });
  EXPECT_EQ(facts().received_bytes, 0U);
  EXPECT_EQ(backend_.accepted(), 0);
}

// ---- backends

class BackendStarttls : public StarttlsFixture {
 protected:
  void SetUp() override {
    StarttlsFixture::SetUp();
    rule_.emplace();
    rule_->verify = {IdentityPattern::parse("dns:db.test").value()};
    rule_->starttls_postgresql = true;
  }
  Backend::Serve tls_echo() const {
    return test::over_tls({.certificate = pki_.authority.issue({.dns = {"db.test"}})},
                          test::echo_over_tls);
  }
  void expect_failed(const Backend::Serve& serve, const std::string& why) {
    const Backend backend(serve);
    serve_to(backend.address());
    serve_clients([this] {
      TlsClient client = connect();
      client.receive_all();
      EXPECT_EQ(client.alert(), 80);
    });
    EXPECT_EQ(reason(), "backend_tls_failed");
    EXPECT_EQ(facts().detail, backend.address() + ": " + why);
    const std::string scrape = registry_.scrape();
    EXPECT_NE(scrape.find("sallyport_backend_tls_handshakes_total{route=\"orders\",result="
                          "\"backend_tls_failed\",resumed=\"false\"} 1"),
              std::string::npos);
  }
};

TEST_F(BackendStarttls, AsksForTlsBeforeIt) {
  const Backend backend(test::after_ssl_request("S", tls_echo()));
  serve_to(backend.address());
  serve_clients([this] { expect_echo(connect()); });
  EXPECT_EQ(reason(), "done") << facts().detail;
  EXPECT_EQ(facts().backend_identity, "dns:db.test");
}

TEST_F(BackendStarttls, DoesNotAskWhereTheRouteDoesNot) {
  rule_->starttls_postgresql = false;
  const Backend backend(tls_echo());
  serve_to(backend.address());
  serve_clients([this] { expect_echo(connect()); });
  EXPECT_EQ(reason(), "done") << facts().detail;
}

TEST_F(BackendStarttls, FailsWhereTheServerHasNoTls) {
  expect_failed(test::after_ssl_request("N", test::stall()),
                "answered SSLRequest with N: it has no TLS");
}
TEST_F(BackendStarttls, ShowsNothingOfAnErrorMessage) {
  expect_failed(test::after_ssl_request("EFATAL: \x1b[2J", test::stall()),
                "answered SSLRequest with an error message");
}
TEST_F(BackendStarttls, FailsWhereTheServerSpeaksSomethingElse) {
  expect_failed(test::after_ssl_request("HTTP/1.1 400", test::stall()),
                "answered SSLRequest with 0x48");
}
TEST_F(BackendStarttls, FailsWhereTheServerEnds) {
  expect_failed(test::after_ssl_request("", [](Fd&) {}), "ended at SSLRequest, without an answer");
}
// CVE-2021-23222: within TLS they would pass for the server's.
TEST_F(BackendStarttls, FailsWhereBytesComeBehindTheAnswer) {
  expect_failed(test::after_ssl_request("SR", test::stall()),
                "spoke before the TLS handshake began");
}

TEST_F(BackendStarttls, GivesASilentServerTheTimeOfAConnect) {
  timeouts_.connect = std::chrono::milliseconds(100);
  const Backend backend(test::after_ssl_request("", test::stall()));
  serve_to(backend.address());
  serve_clients([this] { connect().receive_all(); });
  EXPECT_EQ(reason(), "backend_timeout");
}

}  // namespace
}  // namespace sallyport::gateway
