#include "gateway/backends/check_over_tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/gateway/backends/check_fixture.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/support/backend.h"
#include "tests/support/tls_backend.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using Presents = ktls::ClientContext::Presents;
using Type = HealthCheck::Type;

constexpr char kOrdersIdentity[] = "spiffe://example.org/orders";
const HealthCheck kByTcp{.type = Type::kTcp, .timeout = 60s};
const HealthCheck kByHttp{.type = Type::kHttp, .timeout = 60s};
const HealthCheck kByText{
    .type = Type::kSendExpect, .timeout = 60s, .send = "PING", .expect = "PING"};

// Answers one request, and says by which protocol it was asked.
void answer_by_http(SSL* ssl) {
  std::string request(4096, '\0');
  if (SSL_read(ssl, request.data(), static_cast<int>(request.size())) <= 0) return;
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  const bool is_http = std::string(reinterpret_cast<const char*>(protocol), size) == "http/1.1";
  const std::string answer =
      is_http ? "HTTP/1.1 204 No Content\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n";
  SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
}

class CheckOverTls : public CheckFixture {
 protected:
  CheckOverTls() {
    route_.backend_tls.emplace();
    route_.backend_tls->verify = {*IdentityPattern::parse(kOrdersIdentity)};
  }

  std::string check_over_tls(const HealthCheck& rule, const Endpoint& endpoint,
                             Presents presents = Presents::kNothing) {
    const CheckTls tls{.context = pki_.client_context(presents),
                       .route = std::make_shared<const Route>(route_)};
    opening_.tls = &tls;
    return check(rule, endpoint);
  }
  std::string check_over_tls(const HealthCheck& rule, const test::Backend& backend,
                             Presents presents = Presents::kNothing) {
    return check_over_tls(rule, endpoint_at(backend.address()), presents);
  }

  test::Backend::Serve orders(test::TlsServe serve,
                              const test::LeafSpec& spec = {.spiffe = {kOrdersIdentity}},
                              const std::string& alpn = {}) const {
    return test::over_tls({.certificate = pki_.authority.issue(spec), .alpn = alpn},
                          std::move(serve));
  }
  // Wants a certificate of ours.
  test::Backend::Serve mutual(test::TlsServe serve) const {
    return test::over_tls({.certificate = pki_.authority.issue({.spiffe = {kOrdersIdentity}}),
                           .client_ca = pki_.authority.cert_pem()},
                          std::move(serve));
  }

  ktls::testing::TestServer pki_;
  Route route_;
};

TEST_F(CheckOverTls, AsksByEachType) {
  const test::Backend echo(orders(test::echo_over_tls));
  EXPECT_EQ(check_over_tls(kByTcp, echo), "good");
  EXPECT_EQ(check_over_tls(kByText, echo), "good");
  const test::Backend web(orders(answer_by_http));
  EXPECT_EQ(check_over_tls(kByHttp, web), "good");
  HealthCheck other = kByHttp;
  other.lowest_status = other.highest_status = 418;
  EXPECT_EQ(check_over_tls(other, web), "status 200");
  EXPECT_TRUE(heard_);
}

TEST_F(CheckOverTls, KeepsTheSocketOfAConnectionThatItMayReset) {
  const test::Backend web(orders(answer_by_http));
  EXPECT_EQ(check_over_tls(kByHttp, web), "good");
  EXPECT_EQ(sockets_.size(), 1U);
  EXPECT_EQ(check_over_tls(kByHttp, web), "good") << "with that socket";
}

TEST_F(CheckOverTls, PresentsOurCertificate) {
  const test::Backend backend(mutual(test::echo_over_tls));
  for (const HealthCheck& rule : {kByTcp, kByText})
    EXPECT_EQ(check_over_tls(rule, backend, Presents::kCertificates), "good");
}

// In TLS 1.3 it says so behind its own part of the handshake.
TEST_F(CheckOverTls, FailsWhereTheServerWantsACertificateThatWeDoNotHave) {
  const test::Backend backend(mutual(test::echo_over_tls));
  EXPECT_EQ(check_over_tls(kByTcp, backend), "backend_tls_failed: alert 116");
  // It may have closed before, or while we send.
  EXPECT_THAT(check_over_tls(kByText, backend),
              ::testing::AnyOf("receive: alert 116", "receive: ECONNRESET", "send: EPIPE",
                               "send: ECONNRESET"));
}

TEST_F(CheckOverTls, FailsForAnotherThanTheOneThatTheTrafficWants) {
  const test::Backend other(orders(answer_by_http, {.spiffe = {"spiffe://example.org/billing"}}));
  for (const HealthCheck& rule : {kByTcp, kByHttp}) {
    EXPECT_EQ(check_over_tls(rule, other),
              "backend_not_verified: is spiffe://example.org/billing, none of " +
                  std::string(kOrdersIdentity));
    EXPECT_TRUE(heard_);
  }
}

TEST_F(CheckOverTls, LetsTheEndpointNarrowWhoItIs) {
  route_.backend_tls->verify = {*IdentityPattern::parse("spiffe://example.org/*")};
  const test::Backend backend(orders(test::echo_over_tls));
  const auto with_id = [&](const std::string& id) {
    return endpoint_at(backend.address(), {.tls_id = id});
  };
  EXPECT_EQ(check_over_tls(kByTcp, with_id(kOrdersIdentity)), "good");
  EXPECT_EQ(check_over_tls(kByTcp, with_id("spiffe://example.org/billing")),
            "backend_not_verified: is " + std::string(kOrdersIdentity) +
                ", not spiffe://example.org/billing");
}

TEST_F(CheckOverTls, SaysWhatIsWrongWithTheCertificate) {
  const test::Backend expired(orders(
      test::echo_over_tls, {.spiffe = {kOrdersIdentity}, .not_after = std::chrono::seconds(-60)}));
  EXPECT_TRUE(check_over_tls(kByTcp, expired).starts_with("backend_expired"));
  const test::TestAuthority unknown("Other Root");
  const test::Backend untrusted(test::over_tls(
      {.certificate = unknown.issue({.spiffe = {kOrdersIdentity}})}, test::echo_over_tls));
  EXPECT_TRUE(check_over_tls(kByTcp, untrusted).starts_with("backend_untrusted"));
}

TEST_F(CheckOverTls, FailsWhereTheServerDoesNotSpeakTls) {
  const test::Backend speaks_first(test::named("220 ready\r\n"));
  EXPECT_TRUE(check_over_tls(kByTcp, speaks_first).starts_with("backend_tls_failed"));
  const test::Backend leaves([](test::Fd& socket) {
    std::string hello;
    test::receive(socket, hello, 1);
  });
  EXPECT_TRUE(
      check_over_tls(kByTcp, leaves).starts_with("backend_tls_failed: ended the TLS handshake"));
  EXPECT_TRUE(heard_);
  const test::Backend silent(test::stall());
  HealthCheck short_one = kByTcp;
  short_one.timeout = 100ms;
  EXPECT_EQ(check_over_tls(short_one, silent), "timeout");
  EXPECT_FALSE(heard_);
}

TEST_F(CheckOverTls, ByTcpTakesAServerThatStaysForOneThatWorks) {
  const test::Backend stays(orders([](SSL* ssl) {
    char byte{};
    while (SSL_read(ssl, &byte, 1) > 0) {
    }
    std::string rest;
    test::Fd socket(::dup(SSL_get_fd(ssl)));
    test::receive_all(socket, rest);  // and answers nothing
  }));
  EXPECT_EQ(check_over_tls(kByTcp, stays), "good");
}

// Its question is of HTTP/1.1, whatever the traffic speaks.
TEST_F(CheckOverTls, ByHttpOffersHttp) {
  HealthCheck only_204 = kByHttp;
  only_204.lowest_status = only_204.highest_status = 204;
  const test::Backend web(orders(answer_by_http, {.spiffe = {kOrdersIdentity}}, "http/1.1"));
  EXPECT_EQ(check_over_tls(only_204, web), "status 200") << "no protocol is offered";
  route_.backend_tls->alpn = {"h2", "http/1.1"};
  EXPECT_EQ(check_over_tls(only_204, web), "good");
  route_.backend_tls->alpn.clear();
  route_.backend_tls->forward_alpn = true;
  route_.alpn = {"h2"};
  EXPECT_EQ(check_over_tls(only_204, web), "good");
}

TEST_F(CheckOverTls, SendsThePlaintextHeaderBeforeTheHandshake) {
  constexpr std::string_view kHeader = "PROXY UNKNOWN\r\n";
  const auto tls = orders(test::echo_over_tls);
  const test::Backend backend([&](test::Fd& socket) {
    std::string header(kHeader.size(), '\0');
    EXPECT_EQ(::recv(socket.get(), header.data(), header.size(), MSG_WAITALL),
              static_cast<ssize_t>(header.size()));
    EXPECT_EQ(header, kHeader);
    tls(socket);
  });
  opening_.header = std::as_bytes(std::span(kHeader));
  EXPECT_EQ(check_over_tls(kByText, backend), "good");
}

}  // namespace
}  // namespace sallyport::gateway
