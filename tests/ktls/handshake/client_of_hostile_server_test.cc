// What a server may answer to our ClientHello that is no handshake, or only a part of one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ktls/handshake/client_handshake.h"
#include "ktls/keys/key_block.h"
#include "ktls/records/record.h"
#include "ktls/records/record_protection.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using Step = ClientHandshake::Step;
using ::testing::HasSubstr;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string plaintext_alert_text(AlertDescription description) {
  return text_of(plaintext_alert(description));
}

// Whether `bytes` are an alert in plaintext, whatever version its record says.
bool is_plaintext_alert(std::span<const std::byte> bytes, AlertDescription description) {
  const auto alert = plaintext_alert(description);
  return bytes.size() == alert.size() && bytes.front() == alert.front() &&
         std::ranges::equal(bytes.subspan(3), std::span(alert).subspan(3));
}

// A record of a plaintext handshake.
std::string record_of(char type, std::string_view content) {
  std::string record{type, 3, 3, static_cast<char>(content.size() >> 8),
                     static_cast<char>(content.size() & 0xff)};
  return record += content;
}

class Answered : public ::testing::Test {
 protected:
  // A client that has sent its ClientHello.
  void begin() {
    client.emplace(context, ClientTerms{.min_version = RecordVersion::kTls12,
                                        .refuse = [](const PeerTrust&) { return std::nullopt; }});
    ASSERT_EQ(client->advance(), Step::kWantRead);
    hello = text_of(client->output());
    ASSERT_FALSE(hello.empty());
    client->output_sent();
  }
  Step answer(std::string_view bytes) {
    client->feed(bytes_of(bytes));
    return client->advance();
  }
  // The first flight of OpenSSL's server.
  std::string flight_of(const ServerSetup& setup) {
    server.emplace(setup);
    server->give(bytes_of(hello));
    EXPECT_FALSE(server->handshake());
    return server->take();
  }
  const HandshakeFailure& failure() const { return client->failure(); }

  TestServer pki;
  test::TestCertificate certificate = pki.authority.issue({.dns = {"orders.test"}});
  std::shared_ptr<ClientContext> context = pki.client_context();
  std::string hello;
  std::optional<ClientHandshake> client;
  std::optional<MemoryServer> server;
};

/// For each version.
class HostileServer : public Answered, public ::testing::WithParamInterface<int> {
 protected:
  std::string flight() {
    return flight_of(
        {.certificate = &certificate, .min_version = GetParam(), .max_version = GetParam()});
  }
};
INSTANTIATE_TEST_SUITE_P(Each, HostileServer, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

TEST_P(HostileServer, ThatIsSilentIsWaitedFor) {
  begin();
  EXPECT_FALSE(client->can_advance());
  EXPECT_EQ(client->advance(), Step::kWantRead);
  EXPECT_TRUE(client->output().empty());
}

TEST_P(HostileServer, ThatSpeaksInPlaintextIsNamed) {
  for (const auto& [answered, said] : std::vector<std::pair<std::string, std::string>>{
           {"HTTP/1.1 400 Bad Request\r\n", "plaintext HTTP, not TLS"},
           {"H", "plaintext HTTP, not TLS"},
           {"220 mail.test ESMTP\r\n", "not TLS: the first byte is 50"},
           {"N", "not TLS: the first byte is 78"},
           {std::string(1, '\0'), "not TLS: the first byte is 0"}}) {
    begin();
    EXPECT_EQ(answer(answered), Step::kFailed);
    EXPECT_EQ(to_string(failure().result), "unexpected_message");
    EXPECT_EQ(failure().detail, said);
    EXPECT_TRUE(is_plaintext_alert(client->output(), AlertDescription::kUnexpectedMessage));
  }
}

TEST_P(HostileServer, ThatSendsAnAlertEndsTheConnection) {
  begin();
  EXPECT_EQ(answer(plaintext_alert_text(AlertDescription::kHandshakeFailure)), Step::kFailed);
  EXPECT_EQ(to_string(failure().result), "peer_connection_closed");
  EXPECT_THAT(failure().detail, HasSubstr("handshake failure"));
  EXPECT_TRUE(client->output().empty()) << "an alert is not answered";
  begin();
  EXPECT_EQ(answer(plaintext_alert_text(AlertDescription::kCloseNotify)), Step::kFailed);
  EXPECT_EQ(to_string(failure().result), "peer_connection_closed");
}

TEST_P(HostileServer, ThatStopsInTheMiddleOfItsFlightIsWaitedFor) {
  begin();
  const std::string whole = flight();
  ASSERT_GT(whole.size(), 500U);
  for (std::size_t size = 0; size < whole.size(); size += 97) {
    begin();
    // The flight answers another hello, which shows once the whole ServerHello is there.
    const std::string own = flight();
    ASSERT_EQ(answer(std::string_view(own).substr(0, std::min(size, own.size() - 1))),
              Step::kWantRead)
        << size << " " << failure().detail;
    EXPECT_TRUE(client->output().empty()) << size;
  }
}

TEST_P(HostileServer, ThatAnswersAnotherHelloIsRefused) {
  begin();
  const std::string stolen = flight();
  begin();
  EXPECT_EQ(answer(stolen), Step::kFailed);
  // In TLS 1.2 only the signature shows it, in TLS 1.3 the session id as well.
  EXPECT_EQ(to_string(failure().result),
            GetParam() == TLS1_2_VERSION ? "signature_verification_failed" : "unexpected_message")
      << failure().detail;
  EXPECT_FALSE(client->output().empty());
}

TEST_P(HostileServer, ThatSendsAnImpossibleRecordIsRefused) {
  begin();
  EXPECT_EQ(answer({"\x16\x03\x03\xff\xff", 5}), Step::kFailed);
  EXPECT_EQ(to_string(failure().result), "unexpected_message");
  EXPECT_FALSE(client->output().empty());
  // Behind a ServerHello the alert is OpenSSL's, sealed where keys are in use.
  begin();
  const std::string whole = flight();
  const auto header = RecordHeader::parse(bytes_of(whole).first<kRecordHeaderSize>());
  const std::string_view hello_of_server =
      std::string_view(whole).substr(0, kRecordHeaderSize + header.length);
  ASSERT_EQ(answer(hello_of_server), Step::kWantRead);
  EXPECT_EQ(answer({"\x16\x03\x03\xff\xff", 5}), Step::kFailed);
  ASSERT_FALSE(client->output().empty());
  server->give(client->output());
  EXPECT_FALSE(server->handshake());
  EXPECT_TRUE(server->alert()) << "the server understands it";
}

TEST_P(HostileServer, ThatSendsAClientHelloIsRefused) {
  begin();
  EXPECT_EQ(answer(hello), Step::kFailed);
  EXPECT_EQ(to_string(failure().result), "unexpected_message");
  EXPECT_TRUE(is_plaintext_alert(client->output(), AlertDescription::kUnexpectedMessage));
}

TEST_P(HostileServer, ThatSendsDataBeforeItsFlightIsRefused) {
  begin();
  EXPECT_EQ(answer(record_of(23, "data")), Step::kFailed);
  EXPECT_EQ(to_string(failure().result), "unexpected_message");
}

// A message that is announced with 64 KiB, a byte a record.
TEST_P(HostileServer, ThatSendsTooManyRecordsIsRefused) {
  begin();
  const std::string start{2, 0, static_cast<char>(0xff), static_cast<char>(0xff)};
  std::size_t sent = 0;
  Step step = Step::kWantRead;
  for (; step == Step::kWantRead && sent < 5'000; ++sent)
    step = answer(record_of(22, std::string_view(sent < 4 ? &start[sent] : "\0", 1)));
  EXPECT_EQ(step, Step::kFailed);
  EXPECT_EQ(sent, 2'049U);
  EXPECT_EQ(failure().detail, "more than 2048 records");
  EXPECT_TRUE(is_plaintext_alert(client->output(), AlertDescription::kUnexpectedMessage));
}

// RFC 8446 4.1.4: at most one.
TEST_F(Answered, ByTwoHelloRetryRequestsItRefuses) {
  pki.settings.groups = "X25519:P-384";
  context = pki.client_context();
  begin();
  const std::string retry = flight_of({.certificate = &certificate, .groups = "P-384"});
  ASSERT_EQ(answer(retry), Step::kWantRead);
  EXPECT_FALSE(client->output().empty()) << "the second ClientHello";
  client->output_sent();
  EXPECT_EQ(answer(retry), Step::kFailed);
  EXPECT_EQ(to_string(failure().result), "unexpected_message") << failure().detail;
  EXPECT_FALSE(client->output().empty());
}

// What `server`, which is done in TLS 1.2, seals its records under.
TrafficSecret record_secret(SSL* server, CipherSuite suite) {
  std::array<unsigned char, SSL3_MASTER_SECRET_SIZE> master{};
  std::array<unsigned char, SSL3_RANDOM_SIZE> of_client{}, of_server{};
  EXPECT_EQ(SSL_SESSION_get_master_key(SSL_get_session(server), master.data(), master.size()),
            master.size());
  EXPECT_EQ(SSL_get_client_random(server, of_client.data(), of_client.size()), of_client.size());
  EXPECT_EQ(SSL_get_server_random(server, of_server.data(), of_server.size()), of_server.size());
  return key_block(suite, std::as_bytes(std::span(master)), std::as_bytes(std::span(of_client)),
                   std::as_bytes(std::span(of_server)))
      .value()
      .server;
}

// RFC 5246 7.4.9: application data is the next. OpenSSL's client by itself is done there.
TEST_F(Answered, ByMoreInTheRecordOfFinishedItRefuses) {
  constexpr auto kAead = CipherSuite::kAes128GcmSha256;
  begin();
  ASSERT_EQ(answer(flight_of({.certificate = &certificate,
                              .cipher_list = "ECDHE-ECDSA-AES128-GCM-SHA256",
                              // without a ticket in front of ChangeCipherSpec
                              .max_version = TLS1_2_VERSION,
                              .options = SSL_OP_NO_TICKET})),
            Step::kWantRead);
  server->give(client->output());
  client->output_sent();
  ASSERT_TRUE(server->handshake());
  const std::string last = server->take();
  constexpr std::size_t kChangeCipherSpec = kRecordHeaderSize + 1;
  std::vector<std::byte> finished;
  std::ranges::copy(bytes_of(last).subspan(kChangeCipherSpec), std::back_inserter(finished));

  CipherContexts contexts;
  const DirectionState keys(record_secret(server->ssl(), kAead), 0);
  RecordOpener opener(contexts, kAead, keys, RecordVersion::kTls12);
  const auto opened = opener.open(finished);
  ASSERT_TRUE(opened);
  std::vector<std::byte> content(opened->content.begin(), opened->content.end());
  content.resize(content.size() + kHandshakeHeaderSize);  // a HelloRequest
  const iovec span{content.data(), content.size()};
  PlaintextCursor cursor({&span, 1});
  std::vector<std::byte> longer(
      sealed_size(content.size(), record_overhead(RecordVersion::kTls12, kAead)));
  RecordSealer sealer(contexts, kAead, keys, RecordVersion::kTls12);
  ASSERT_TRUE(sealer.seal(ContentType::kHandshake, cursor, longer));

  client->feed(bytes_of(last).first(kChangeCipherSpec));
  client->feed(longer);
  EXPECT_EQ(client->advance(), Step::kFailed);
  EXPECT_EQ(to_string(failure().result), "unexpected_message");
  EXPECT_EQ(failure().detail, "bytes behind Finished in its record");
  server->give(client->output());
  EXPECT_EQ(server->read(), "");
  EXPECT_EQ(server->alert(), SSL_AD_UNEXPECTED_MESSAGE) << "sealed behind our Finished";
}

}  // namespace
}  // namespace sallyport::ktls::testing
