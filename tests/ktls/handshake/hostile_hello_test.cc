// Clients that break the handshake's rules where OpenSSL leaves the judgement to us, and records
// that are none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <optional>
#include <string>
#include <string_view>

#include "ktls/handshake/server_handshake.h"
#include "ktls/records/record.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using Step = ServerHandshake::Step;
using ::testing::HasSubstr;
using ::testing::Not;

class HostileHello : public ::testing::Test {
 protected:
  /// The first flight of a client of orders.test that offers h2 and http/1.1.
  std::string hello(std::string groups = {}) {
    client.emplace(ClientSetup{.certificate = &certificate,
                               .sni = "orders.test",
                               .alpn = {"h2", "http/1.1"},
                               .groups = std::move(groups)});
    EXPECT_FALSE(client->handshake());
    return client->take();
  }
  /// What the server says about it; the alert is taken by `client`.
  HandshakeFailure refusal_of(std::string_view sent) {
    RoutedHandshake server(pki.context(), any_route());
    server.feed(bytes_of(sent));
    EXPECT_EQ(server.advance(), Step::kFailed);
    deliver(server, *client);
    (void)client->handshake();
    return server.failure();
  }

  TestServer pki;
  test::TestCertificate certificate = pki.client();
  std::optional<MemoryClient> client;
};

TEST_F(HostileHello, WithAMalformedServerNameIsRefused) {
  const std::string good = hello();
  const std::size_t name = good.find("orders.test");
  ASSERT_NE(name, std::string::npos);
  struct Change {
    std::size_t at;
    char byte;
  };
  for (const auto& [at, byte] : {Change{name + 6, '\0'},   // within the name
                                 Change{name - 1, 10},     // its length, a byte less
                                 Change{name - 3, 1},      // its type
                                 Change{name - 4, 13}}) {  // the list's length
    std::string bad = hello();
    bad[at] = byte;
    const HandshakeFailure failure = refusal_of(bad);
    EXPECT_EQ(to_string(failure.result), "unexpected_message");
    EXPECT_THAT(failure.detail, HasSubstr("malformed server_name"));
    EXPECT_EQ(client->alert(), SSL_AD_DECODE_ERROR);
  }
}

TEST_F(HostileHello, WithMalformedAlpnIsRefused) {
  for (const auto& [at, byte] : {std::pair{-1, '\0'},       // an empty protocol
                                 std::pair{-1, '\x7f'},     // one that ends behind the list
                                 std::pair{-2, '\x0b'}}) {  // the list's length
    std::string bad = hello();
    const std::size_t first = bad.find("\x02h2");
    ASSERT_NE(first, std::string::npos);
    bad[first + 1 + static_cast<std::size_t>(at)] = byte;
    const HandshakeFailure failure = refusal_of(bad);
    EXPECT_EQ(to_string(failure.result), "unexpected_message");
    EXPECT_THAT(failure.detail, HasSubstr("malformed application_layer_protocol_negotiation"));
    EXPECT_EQ(client->alert(), SSL_AD_DECODE_ERROR);
  }
}

/// A client that is asked for another key share, and what it changes before it answers.
class SecondHello : public HostileHello {
 protected:
  template <class Change>
  Step answer_after(const std::string& first, Change change) {
    server.emplace(pki.context(), any_route());
    server->feed(bytes_of(first));
    EXPECT_EQ(server->advance(), Step::kWantRead);
    deliver(*server, *client);
    change(client->ssl());
    return shuttle(*server, *client);
  }
  void expect_refused() {
    EXPECT_EQ(to_string(server->failure().result), "unexpected_message");
    EXPECT_THAT(server->failure().detail, HasSubstr("differs from the first"));
    EXPECT_EQ(client->alert(), SSL_AD_ILLEGAL_PARAMETER);
  }

  static constexpr const char* kOneRefusedShare = "P-521:P-256";
  std::optional<RoutedHandshake> server;
};

TEST_F(SecondHello, LikeTheFirstIsTaken) {
  EXPECT_EQ(answer_after(hello(kOneRefusedShare), [](SSL*) {}), Step::kDone)
      << server->failure().detail;
}

// It was routed by the first one's name and protocols.
TEST_F(SecondHello, WithAnotherServerNameIsRefused) {
  for (const char* name : {"secret.test", "Orders.test", "orders.test.", ""}) {
    const auto rename = [name](SSL* ssl) {
      char* const host = *name == '\0' ? nullptr : const_cast<char*>(name);
      SSL_set_tlsext_host_name(ssl, host);
    };
    EXPECT_EQ(answer_after(hello(kOneRefusedShare), rename), Step::kFailed) << name;
    expect_refused();
  }
}

TEST_F(SecondHello, WithOtherProtocolsIsRefused) {
  for (const std::string_view offer : {"\x08http/1.1\x02h2", "\x02h2", "\x02h3"}) {
    const auto offer_others = [offer](SSL* ssl) {
      SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(offer.data()),
                          static_cast<unsigned>(offer.size()));
    };
    EXPECT_EQ(answer_after(hello(kOneRefusedShare), offer_others), Step::kFailed) << offer;
    expect_refused();
  }
}

TEST_F(SecondHello, WithANameWhereTheFirstHadNoneIsRefused) {
  client.emplace(ClientSetup{.certificate = &certificate, .groups = kOneRefusedShare});
  EXPECT_FALSE(client->handshake());
  EXPECT_EQ(
      answer_after(client->take(), [](SSL* ssl) { SSL_set_tlsext_host_name(ssl, "orders.test"); }),
      Step::kFailed);
  expect_refused();
}

TEST_F(HostileHello, GetsNoProtocolThatItDidNotOffer) {
  RoutedHandshake server(pki.context(), [](const ClientHello&) { return std::string("h3"); });
  client.emplace(ClientSetup{.certificate = &certificate, .alpn = {"h2", "http/1.1"}});
  ASSERT_EQ(shuttle(server, *client), Step::kDone) << server.failure().detail;
  const unsigned char* alpn = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(client->ssl(), &alpn, &size);
  EXPECT_EQ(size, 0U);
}

// ---- records

constexpr std::string_view kCloseNotify("\x15\x03\x03\x00\x02\x01\x00", 7);

TEST_F(HostileHello, FollowedByACloseNotifyIsTheEnd) {
  const std::string first = hello();
  RoutedHandshake server(pki.context(), any_route());
  server.feed(bytes_of(first));
  ASSERT_EQ(server.advance(), Step::kWantRead);
  server.output_sent();
  server.feed(bytes_of(kCloseNotify));
  EXPECT_EQ(server.advance(), Step::kFailed);
  EXPECT_EQ(to_string(server.failure().result), "peer_connection_closed");
  EXPECT_EQ(server.failure().detail, "the peer sent close_notify");
  EXPECT_TRUE(server.output().empty()) << "an alert would be read by no one";
  EXPECT_EQ(server.advance(), Step::kFailed) << "however often it is asked";
}

// Longer than RFC 8446 5.2 allows, and yet short enough for OpenSSL 3 to wait for its end.
TEST_F(HostileHello, InARecordThatIsTooLongIsNotWaitedFor) {
  for (const std::size_t length : {kMaxCiphertextSize + 1, kMaxCiphertextSize + 64}) {
    std::string header("\x16\x03\x01", 3);
    header += static_cast<char>(length >> 8);
    header += static_cast<char>(length & 0xff);
    RoutedHandshake server(pki.context(), any_route());
    server.feed(bytes_of(header));
    EXPECT_EQ(server.advance(), Step::kFailed) << length;
    EXPECT_EQ(to_string(server.failure().result), "unexpected_message");
    const std::string_view alert("\x15\x03\x03\x00\x02\x02\x16", 7);
    ASSERT_EQ(server.output().size(), alert.size());
    EXPECT_EQ(server.output().back(), static_cast<std::byte>(AlertDescription::kRecordOverflow));
  }
}

// OpenSSL takes 150 KiB for 128 KiB that are only announced, from clients that prove nothing.
TEST_F(HostileHello, ThatAnnouncesTooMuchNeverReachesOpenssl) {
  const std::string announced("\x01\x00\x40\x00", 4);  // with the header 4 bytes more than allowed
  for (const std::size_t fragment : {1U, 4U}) {
    std::string records;
    for (std::size_t at = 0; at < announced.size(); at += fragment) {
      records += std::string("\x16\x03\x01\x00", 4) + static_cast<char>(fragment);
      records += announced.substr(at, fragment);
    }
    const HandshakeFailure failure = refusal_of((hello(), records));
    EXPECT_EQ(to_string(failure.result), "unexpected_message") << fragment;
    EXPECT_EQ(failure.detail, "ClientHello of more than 16384 bytes") << fragment;
    EXPECT_EQ(client->alert(), SSL_AD_ILLEGAL_PARAMETER) << fragment;
  }
}

TEST_F(HostileHello, ThatAnswersAHelloRetryRequestIsNoLargerEither) {
  const std::string first = hello("P-384:P-256");
  RoutedHandshake server(pki.context(), any_route());
  server.feed(bytes_of(first));
  ASSERT_EQ(server.advance(), Step::kWantRead);
  deliver(server, *client);
  EXPECT_FALSE(client->handshake());
  const std::string second = client->take();
  ASSERT_THAT(second, HasSubstr("orders.test"));
  server.feed(bytes_of(std::string_view("\x16\x03\x03\x00\x04\x01\x01\xff\x00", 9)));
  EXPECT_EQ(server.advance(), Step::kFailed);
  EXPECT_EQ(server.failure().detail, "ClientHello of more than 16384 bytes");
  deliver(server, *client);
  (void)client->handshake();
  EXPECT_EQ(client->alert(), SSL_AD_ILLEGAL_PARAMETER);
}

// The message behind the hellos may begin with any byte, also with that of a ClientHello.
TEST_F(HostileHello, SizesAreNotReadFromLaterMessages) {
  hello();
  pki.settings.min_version = RecordVersion::kTls12;
  RoutedHandshake server(pki.context(), any_route());
  client.emplace(ClientSetup{.certificate = &certificate,
                             .sni = "orders.test",
                             .min_version = TLS1_2_VERSION,
                             .max_version = TLS1_2_VERSION});
  EXPECT_FALSE(client->handshake());
  server.feed(bytes_of(client->take()));
  ASSERT_EQ(server.advance(), Step::kWantRead);
  server.output_sent();
  server.feed(bytes_of(std::string_view("\x16\x03\x03\x00\x04\x01\x01\xff\x00", 9)));
  EXPECT_EQ(server.advance(), Step::kFailed);
  EXPECT_THAT(server.failure().detail, Not(HasSubstr("16384"))) << "OpenSSL's judgement";
}

TEST_F(HostileHello, ThatIsHttpIsCalledSoFromItsFirstBytes) {
  for (const char* request : {"GET / HTTP/1.1\r\n", "P", "OPTIONS *", "CONNECT a:1 HTTP/1.1"})
    EXPECT_THAT(refusal_of((hello(), request)).detail, HasSubstr("plaintext HTTP")) << request;
  EXPECT_THAT(refusal_of((hello(), "SSH-2.0")).detail, HasSubstr("first byte is 83"));
}

}  // namespace
}  // namespace sallyport::ktls::testing
