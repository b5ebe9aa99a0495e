// Handshakes of TLS 1.2, which --min-tls 1.2 allows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <string>

#include "ktls/handshake/client_hello.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/records/record_protection.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/records/tls12_state.h"

namespace sallyport::ktls::testing {
namespace {

using test::KeyType;
using Step = ServerHandshake::Step;
using ::testing::HasSubstr;

class Tls12Handshake : public ::testing::Test {
 protected:
  Tls12Handshake() { pki.settings.min_version = RecordVersion::kTls12; }

  ClientSetup setup(const char* cipher_list = "") const {
    return {.certificate = &certificate,
            .trust_pem = pki.authority.cert_pem(),
            .cipher_list = cipher_list,
            .min_version = TLS1_2_VERSION,
            .max_version = TLS1_2_VERSION};
  }
  Step run(RoutedHandshake& server, const ClientSetup& chosen) {
    client.emplace(chosen);
    return shuttle(server, *client);
  }
  /// Up to the client's last flight, from its Certificate to its Finished.
  std::string last_flight(RoutedHandshake& server, const ClientSetup& chosen) {
    client.emplace(chosen);
    (void)client->handshake();
    server.feed(bytes_of(client->take()));
    EXPECT_EQ(server.advance(), Step::kWantRead);
    deliver(server, *client);
    EXPECT_FALSE(client->handshake()) << "TLS 1.2 waits for the server's Finished";
    return client->take();
  }
  void expect_refused(const ClientSetup& chosen, HandshakeResult result, int alert,
                      RouteByHello route = any_route()) {
    RoutedHandshake server(pki.context(), std::move(route));
    EXPECT_EQ(run(server, chosen), Step::kFailed);
    EXPECT_EQ(to_string(server.failure().result), to_string(result)) << server.failure().detail;
    EXPECT_EQ(client->alert(), alert);
    EXPECT_FALSE(server.failure().detail.empty());
  }
  void expect_refused(const test::TestCertificate& refused, HandshakeResult result, int alert) {
    ClientSetup chosen = setup();
    chosen.certificate = &refused;
    expect_refused(chosen, result, alert);
  }

  TestServer pki;
  test::TestCertificate certificate = pki.client();
  std::optional<MemoryClient> client;
};

TEST_F(Tls12Handshake, LeavesAPlainValueThatOpensAndSealsWithEverySuite) {
  for (const Tls12Suite& suite : kTls12Suites) {
    SCOPED_TRACE(suite.name);
    pki.serve_with(suite.name.contains("ECDSA") ? KeyType::kEcdsaP256 : KeyType::kRsa2048);
    RoutedHandshake server(pki.context(), any_route());
    ASSERT_EQ(run(server, setup(std::string(suite.name).c_str())), Step::kDone)
        << server.failure().detail;
    EXPECT_FALSE(client->failed());
    const Outcome outcome = server.finish();
    EXPECT_EQ(outcome.version, "TLSv1.2");
    EXPECT_EQ(outcome.cipher, suite.name);
    EXPECT_EQ(outcome.cipher, SSL_get_cipher_name(client->ssl()));
    EXPECT_EQ(outcome.trust->identity.spiffe, "spiffe://example.org/ns/shop/sa/web");
    EXPECT_EQ(outcome.state.version, RecordVersion::kTls12);
    EXPECT_EQ(outcome.state.suite, suite.records);
    EXPECT_EQ(outcome.state.rx.rec_seq, 1U);
    EXPECT_EQ(outcome.state.tx.rec_seq, 1U);
    EXPECT_TRUE(outcome.leftover.empty());
    ASSERT_TRUE(client->write("from the client"));
    EXPECT_EQ(open_all(bytes_of(client->take()), outcome.state), "from the client");
    client->give(seal("from the server", outcome.state));
    EXPECT_EQ(client->read(), "from the server");
  }
}

TEST_F(Tls12Handshake, IsOnlyForClientsWithoutTls13) {
  RoutedHandshake server(pki.context(), any_route());
  ClientSetup both = setup();
  both.max_version = TLS1_3_VERSION;
  ASSERT_EQ(run(server, both), Step::kDone);
  server.issue_tickets();
  deliver(server, *client);
  (void)client->read();
  EXPECT_EQ(server.finish().version, "TLSv1.3");
  EXPECT_EQ(client->sessions().size(), 1U) << "TLS 1.3 keeps its tickets";
}

TEST_F(Tls12Handshake, TakesEveryKindOfKeyOnBothSides) {
  pki.settings.groups = "X25519:P-256:P-384";
  for (const KeyType own : {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048}) {
    pki.serve_with(own);
    const auto context = pki.context();
    for (const KeyType type :
         {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
      certificate = pki.client(type);
      RoutedHandshake server(context, any_route());
      EXPECT_EQ(run(server, setup()), Step::kDone) << server.failure().detail;
      EXPECT_FALSE(client->failed());
    }
  }
}

/// OpenSSL's rule for TLS 1.2; docs/secure.md tells.
TEST_F(Tls12Handshake, RefusesACertificateWhoseCurveIsNotAmongOurGroups) {
  expect_refused(pki.client(KeyType::kEcdsaP384), HandshakeResult::kCertificateVerificationFailed,
                 SSL_AD_ILLEGAL_PARAMETER);
}

TEST_F(Tls12Handshake, NamesTheNegotiatedGroup) {
  // An ECDSA certificate of either side needs its curve among the client's groups.
  pki.serve_with(KeyType::kRsa2048);
  certificate = pki.client(KeyType::kRsa2048);
  pki.settings.groups = "X25519:P-256:P-384";
  const auto context = pki.context();
  for (const char* group : {"X25519", "P-256", "P-384"}) {
    RoutedHandshake server(context, any_route());
    ClientSetup chosen = setup();
    chosen.groups = group;
    ASSERT_EQ(run(server, chosen), Step::kDone) << server.failure().detail;
    EXPECT_EQ(server.outcome().group, group);
  }
}

TEST_F(Tls12Handshake, TakesTheSuitesOfTheChosenAeadsInTheirOrder) {
  pki.settings.ciphersuites = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"};
  const auto context = pki.context();
  RoutedHandshake server(context, any_route());
  ASSERT_EQ(run(server, setup("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")),
            Step::kDone);
  EXPECT_EQ(server.outcome().cipher, "ECDHE-ECDSA-AES256-GCM-SHA384");
  expect_refused(setup("ECDHE-ECDSA-CHACHA20-POLY1305"), HandshakeResult::kCipherSuiteMismatch,
                 SSL_AD_HANDSHAKE_FAILURE);
}

TEST_F(Tls12Handshake, DeliversTheClientsLastFlightSplitAtEachByte) {
  const auto context = pki.context();
  std::size_t flight = 1;
  for (std::size_t cut = 0; cut <= flight; cut += cut + 60 < flight ? 17 : 1) {
    RoutedHandshake server(context, any_route());
    const std::string last = last_flight(server, setup());
    flight = last.size();
    const std::size_t at = std::min(cut, flight);
    server.feed(bytes_of(last).first(at));
    ASSERT_EQ(server.advance(), at == flight ? Step::kDone : Step::kWantRead) << cut;
    server.feed(bytes_of(last).subspan(at));
    ASSERT_EQ(server.advance(), Step::kDone) << cut;
    deliver(server, *client);
    EXPECT_TRUE(client->handshake());
    EXPECT_TRUE(server.finish().leftover.empty());
  }
}

TEST_F(Tls12Handshake, TakesFlightsByteByByte) {
  RoutedHandshake server(pki.context(), any_route());
  client.emplace(setup());
  EXPECT_EQ(shuttle(server, *client, 1), Step::kDone);
}

/// False Start (RFC 7918): browsers send data right behind their Finished, before they saw ours.
TEST_F(Tls12Handshake, HandsOverWhatAFalseStartGluedToFinished) {
  const auto context = pki.context();
  for (const CipherSuite suite : testing::kSuites) {
    for (const std::size_t missing : {0, 1, 20, 20000}) {
      const auto chosen = std::ranges::find(kTls12Suites, suite, &Tls12Suite::records);
      RoutedHandshake server(context, any_route());
      const std::string last = last_flight(server, setup(std::string(chosen->name).c_str()));
      const SessionState state = tls12_state(client->ssl(), suite, Role::kClient);
      const std::string said = "first" + std::string(30000, 'x');
      const auto data = seal(said, state);
      server.feed(bytes_of(last));
      server.feed(std::span(data).first(data.size() - missing));
      ASSERT_EQ(server.advance(), Step::kDone);
      server.feed(std::span(data).last(missing));
      const Outcome outcome = server.finish();
      EXPECT_EQ(outcome.leftover, data);
      EXPECT_EQ(open_all(outcome.leftover, outcome.state), said);
    }
  }
}

/// Clients whose Finished the test seals anew, under the client's keys.
class Tls12Finished : public Tls12Handshake {
 protected:
  static constexpr CipherSuite kSuite = CipherSuite::kAes128GcmSha256;

  /// Everything up to the Finished, whose content is returned.
  Bytes run_to_finished(RoutedHandshake& server) {
    const std::string last = last_flight(server, setup("ECDHE-ECDSA-AES128-GCM-SHA256"));
    constexpr std::size_t kFinished = 16 + record_overhead(RecordVersion::kTls12, kSuite);
    server.feed(bytes_of(last).first(last.size() - kFinished));
    EXPECT_EQ(server.advance(), Step::kWantRead);
    state = tls12_state(client->ssl(), kSuite, Role::kClient);
    state.tx.rec_seq = 0;
    RecordOpener opener(contexts, kSuite, state.tx, RecordVersion::kTls12);
    Bytes record(bytes_of(last).end() - kFinished, bytes_of(last).end());
    const auto finished = opener.open(record);
    if (!finished) return {};
    EXPECT_EQ(finished->type, ContentType::kHandshake);
    return {finished->content.begin(), finished->content.end()};
  }
  /// The next record of the client.
  Bytes seal_handshake(std::span<const std::byte> content) {
    RecordSealer sealer(contexts, kSuite, state.tx, RecordVersion::kTls12);
    const iovec span = span_of(content);
    PlaintextCursor cursor{std::span(&span, 1)};
    Bytes out(content.size() + record_overhead(RecordVersion::kTls12, kSuite));
    EXPECT_TRUE(sealer.seal(ContentType::kHandshake, cursor, out));
    ++state.tx.rec_seq;
    return out;
  }

  SessionState state;
  CipherContexts contexts;
};

/// A peer may cut its Finished into several records; each has a sequence number.
TEST_F(Tls12Finished, IsCountedByItsRecordsWhereItWasCut) {
  RoutedHandshake server(pki.context(), any_route());
  const Bytes finished = run_to_finished(server);
  server.feed(seal_handshake(std::span(finished).first(1)));
  EXPECT_EQ(server.advance(), Step::kWantRead);
  server.feed(seal_handshake(std::span(finished).subspan(1)));
  ASSERT_EQ(server.advance(), Step::kDone) << server.failure().detail;
  const Outcome outcome = server.finish();
  EXPECT_EQ(outcome.state.rx.rec_seq, 2U);
  EXPECT_EQ(open_all(seal("data", state), outcome.state), "data");
}

/// RFC 5246 7.4.9. These bytes were dropped without a word.
TEST_F(Tls12Finished, IsFollowedByNothingInItsRecord) {
  for (const char* behind : {"00", "00000000", "01000000", "010000ff03", "1400000c", "63"}) {
    SCOPED_TRACE(behind);
    RoutedHandshake server(pki.context(), any_route());
    Bytes content = run_to_finished(server);
    std::ranges::copy(from_hex(behind), std::back_inserter(content));
    server.feed(seal_handshake(content));
    ASSERT_EQ(server.advance(), Step::kFailed);
    EXPECT_EQ(server.failure().result, HandshakeResult::kUnexpectedMessage);
    deliver(server, *client);
    EXPECT_TRUE(client->handshake());
    EXPECT_EQ(client->read(), "");
    EXPECT_EQ(client->alert(), SSL_AD_UNEXPECTED_MESSAGE);
  }
}

TEST_F(Tls12Handshake, GivesNoTicketAndResumesNothing) {
  const auto context = pki.context();
  RoutedHandshake first(context, any_route());
  ASSERT_EQ(run(first, setup()), Step::kDone);
  first.issue_tickets();
  deliver(first, *client);
  EXPECT_TRUE(client->handshake());
  (void)client->read();
  EXPECT_EQ(first.finish().state.tx.rec_seq, 1U);
  SSL_SESSION* session = SSL_get_session(client->ssl());
  EXPECT_EQ(SSL_SESSION_has_ticket(session), 0);
  unsigned id_size = 0;
  SSL_SESSION_get_id(session, &id_size);
  EXPECT_EQ(id_size, 0U);
}

TEST_F(Tls12Handshake, RefusesWithoutTheExtendedMasterSecret) {
  RoutedHandshake server(pki.context(), any_route());
  client.emplace(setup());
  SSL_set_options(client->ssl(), SSL_OP_NO_EXTENDED_MASTER_SECRET);
  EXPECT_EQ(shuttle(server, *client), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kKeyExchangeFailure);
  EXPECT_THAT(server.failure().detail, HasSubstr("extended_master_secret"));
  EXPECT_EQ(client->alert(), SSL_AD_HANDSHAKE_FAILURE);

  RoutedHandshake newer(pki.context(), any_route());
  ClientSetup both = setup();
  both.max_version = TLS1_3_VERSION;
  client.emplace(both);
  SSL_set_options(client->ssl(), SSL_OP_NO_EXTENDED_MASTER_SECRET);
  EXPECT_EQ(shuttle(newer, *client), Step::kDone) << "TLS 1.3 has no need of it";
}

TEST_F(Tls12Handshake, RefusesSuitesWithoutEcdheOrAead) {
  pki.serve_with(KeyType::kRsa2048);
  for (const char* suites :
       {"ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES256-SHA256",
        "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-CHACHA20-POLY1305"}) {
    SCOPED_TRACE(suites);
    expect_refused(setup(suites), HandshakeResult::kCipherSuiteMismatch, SSL_AD_HANDSHAKE_FAILURE);
  }
}

TEST_F(Tls12Handshake, RefusesAnUnneededFallback) {
  RoutedHandshake server(pki.context(), any_route());
  client.emplace(setup());
  SSL_set_mode(client->ssl(), SSL_MODE_SEND_FALLBACK_SCSV);
  EXPECT_EQ(shuttle(server, *client), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kProtocolVersionUnsupported);
  EXPECT_EQ(client->alert(), SSL_AD_INAPPROPRIATE_FALLBACK);
}

TEST_F(Tls12Handshake, TellsTheClientWhyItIsRefused) {
  ClientSetup none = setup();
  none.certificate = nullptr;
  // TLS 1.2 has no alert of that name.
  expect_refused(none, HandshakeResult::kCertificateRequired, SSL_AD_HANDSHAKE_FAILURE);
  expect_refused(pki.authority.issue(
                     {.not_before = std::chrono::hours(-2), .not_after = std::chrono::hours(-1)}),
                 HandshakeResult::kCertificateExpired, 45);
  expect_refused(pki.authority.issue({.not_before = std::chrono::hours(1)}),
                 HandshakeResult::kCertificateNotYetValid, 42);
  expect_refused(test::TestAuthority("Stranger").issue({.dns = {"web"}}),
                 HandshakeResult::kCertificateAuthorityInvalid, 48);
  expect_refused(pki.authority.issue({.eku = test::Eku::kServerAuth}),
                 HandshakeResult::kCertificatePurposeInvalid, 43);
  for (const auto& [why, alert] : {std::pair{HandshakeResult::kNoRoute, 112},
                                   std::pair{HandshakeResult::kNoApplicationProtocol, 120}}) {
    expect_refused(setup(), why, alert, [why](const ClientHello&) { return std::unexpected(why); });
  }
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({certificate.serial}))};
  expect_refused(certificate, HandshakeResult::kCertificateRevoked, 44);
}

TEST_F(Tls12Handshake, RefusesATamperedFinished) {
  RoutedHandshake server(pki.context(), any_route());
  std::string last = last_flight(server, setup());
  last.back() = static_cast<char>(last.back() ^ 1);
  server.feed(bytes_of(last));
  EXPECT_EQ(server.advance(), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kDecryptionFailed) << server.failure().detail;
  deliver(server, *client);
  EXPECT_FALSE(client->handshake());
  EXPECT_EQ(client->alert(), SSL_AD_BAD_RECORD_MAC);
}

/// RFC 5246 6. Neither waits for the rest of the record.
TEST_F(Tls12Handshake, AnswersARecordOfNoTypeOrTooLongInMidHandshake) {
  for (const auto& [header, alert] : {std::pair{"63 0303 0010", SSL_AD_UNEXPECTED_MESSAGE},
                                      std::pair{"00 0303 0001 00", SSL_AD_UNEXPECTED_MESSAGE},
                                      std::pair{"63 0303 0000", SSL_AD_UNEXPECTED_MESSAGE},
                                      std::pair{"16 0303 4200", SSL_AD_RECORD_OVERFLOW},
                                      std::pair{"16 0303 ffff", SSL_AD_RECORD_OVERFLOW}}) {
    SCOPED_TRACE(header);
    RoutedHandshake server(pki.context(), any_route());
    (void)last_flight(server, setup());
    server.feed(from_hex(header));
    EXPECT_EQ(server.advance(), Step::kFailed);
    EXPECT_EQ(server.failure().result, HandshakeResult::kUnexpectedMessage)
        << server.failure().detail;
    deliver(server, *client);
    EXPECT_FALSE(client->handshake());
    EXPECT_EQ(client->alert(), alert);
  }
}

TEST_F(Tls12Handshake, AnswersAFlightOfTooManyRecords) {
  RoutedHandshake server(pki.context(), any_route());
  (void)last_flight(server, setup());
  const std::string fragment("\x16\x03\x03\x00\x01\x0b", 6);  // of a Certificate of 0x0b0b0b bytes
  std::string flight;
  for (int i = 0; i < 3000; ++i) flight += fragment;
  server.feed(bytes_of(flight));
  EXPECT_EQ(server.advance(), Step::kFailed);
  deliver(server, *client);
  EXPECT_FALSE(client->handshake());
  EXPECT_TRUE(client->alert().has_value()) << server.failure().detail;
}

TEST(SupportedVersions, AreReadWholeOrNotAtAll) {
  constexpr std::uint16_t kTls13 = 0x0304;
  EXPECT_TRUE(names_version(from_hex("02 0304"), kTls13));
  EXPECT_TRUE(names_version(from_hex("06 7a7a 0304 0303"), kTls13));
  EXPECT_FALSE(names_version(from_hex("02 0303"), kTls13));
  EXPECT_FALSE(names_version(from_hex("00"), kTls13));
  EXPECT_FALSE(names_version({}, kTls13));
  EXPECT_FALSE(names_version(from_hex("03 0304"), kTls13)) << "cut";
  EXPECT_FALSE(names_version(from_hex("03 0304 03"), kTls13)) << "half a version";
  EXPECT_FALSE(names_version(from_hex("02 0304 00"), kTls13)) << "a rest";
}

}  // namespace
}  // namespace sallyport::ktls::testing
