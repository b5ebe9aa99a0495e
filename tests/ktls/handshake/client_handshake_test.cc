// Our client's side against OpenSSL's server.
#include "ktls/handshake/client_handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using test::KeyType;
using Step = ClientHandshake::Step;
using Presents = ClientContext::Presents;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr KeyType kKeyTypes[] = {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048,
                                 KeyType::kEd25519};

std::optional<std::string> anyone(const PeerTrust&) {
  return std::nullopt;
}

class Connecting : public ::testing::Test {
 protected:
  test::TestCertificate issue(KeyType type = KeyType::kEcdsaP256) const {
    return pki.authority.issue({.cn = "orders", .dns = {"orders.test"}, .key_type = type});
  }
  // One whole handshake; says how it ended.
  Step run(ClientHandshake& client, const ServerSetup& setup) {
    server.emplace(setup);
    return shuttle(client, *server);
  }
  // Whether data goes both ways under what the handshake left.
  void expect_data(const Outcome& outcome) {
    server->give(seal("from the client", outcome.state));
    EXPECT_EQ(server->read(), "from the client");
    ASSERT_TRUE(server->write("from the server"));
    EXPECT_EQ(open_all(bytes_of(server->take()), outcome.state), "from the server");
  }

  TestServer pki;
  test::TestCertificate certificate = issue();
  std::optional<MemoryServer> server;
};

/// For each version.
class ConnectingBy : public Connecting, public ::testing::WithParamInterface<int> {
 protected:
  static ClientTerms terms() {
    return {
        .min_version = GetParam() == TLS1_2_VERSION ? RecordVersion::kTls12 : RecordVersion::kTls13,
        .refuse = anyone};
  }
  ServerSetup setup() const {
    return {.certificate = &certificate, .min_version = GetParam(), .max_version = GetParam()};
  }
};
INSTANTIATE_TEST_SUITE_P(Each, ConnectingBy, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

TEST_F(Connecting, AuthenticatesAServerAndLeavesAPlainValue) {
  certificate = pki.authority.issue(
      {.cn = "orders", .dns = {"orders.test"}, .spiffe = {"spiffe://example.org/orders"}});
  std::optional<PeerIdentity> judged;
  const std::string_view protocols[] = {"h2", "http/1.1"};
  ClientHandshake client(
      pki.client_context(),
      {.server_name = "orders.test.", .alpn = protocols, .refuse = [&](const PeerTrust& trust) {
         judged = trust.identity;
         return std::nullopt;
       }});
  ASSERT_TRUE(client.can_advance());
  ASSERT_EQ(run(client, {.certificate = &certificate, .alpn = "http/1.1"}), Step::kDone)
      << client.failure().detail;
  EXPECT_TRUE(server->handshake());
  EXPECT_EQ(server->sni(), "orders.test");
  ASSERT_TRUE(judged);
  EXPECT_EQ(judged->spiffe, "spiffe://example.org/orders");
  EXPECT_THAT(judged->dns, ::testing::ElementsAre("orders.test"));

  const Outcome outcome = client.finish();
  EXPECT_EQ(outcome.trust->identity, *judged);
  EXPECT_EQ(outcome.trust->anchor_key, public_key_hash(pki.authority.certificate().x509.get()));
  EXPECT_EQ(outcome.authenticated_at, test_clock());
  EXPECT_FALSE(outcome.resumed);
  EXPECT_FALSE(outcome.certificate_requested);
  EXPECT_EQ(outcome.version, "TLSv1.3");
  EXPECT_EQ(outcome.cipher, SSL_get_cipher_name(server->ssl()));
  EXPECT_EQ(outcome.alpn, "http/1.1");
  EXPECT_TRUE(outcome.leftover.empty());
  EXPECT_EQ(outcome.state.rx.rec_seq, 0U);
  EXPECT_EQ(outcome.state.tx.rec_seq, 0U);
  expect_data(outcome);
}

TEST_F(Connecting, MayGoOnOnAnotherThreadAndEndsOnThatOfTheShard) {
  const auto context = pki.client_context();
  ClientHandshake first(context, {.refuse = anyone});
  std::vector<std::byte> unsent;
  std::thread([&] {
    server.emplace(ServerSetup{.certificate = &certificate});
    ASSERT_EQ(first.advance(), Step::kWantRead);
    server->give(first.output());
    first.output_sent();
    EXPECT_FALSE(server->handshake());
    first.feed(bytes_of(server->take()));
    ASSERT_EQ(first.advance(), Step::kDone);
    unsent = first.take_output();
    EXPECT_TRUE(first.output().empty());
  }).join();
  server->give(unsent);
  EXPECT_TRUE(server->handshake()) << "the output that was taken has our Finished";
  first.intern_trust();
  const Outcome outcome = first.finish();
  expect_data(outcome);

  ClientHandshake second(context, {.refuse = anyone});
  ASSERT_EQ(run(second, {.certificate = &certificate}), Step::kDone);
  second.intern_trust();
  EXPECT_EQ(second.finish().trust, outcome.trust) << "equal peers share one object";
}

TEST_P(ConnectingBy, TakesEveryKindOfKeyOnBothSides) {
  for (const KeyType own : kKeyTypes) {
    pki.serve_with(own);
    const auto context = pki.client_context(Presents::kCertificates);
    const auto own_der = test::to_der(pki.own.x509.get());
    for (const KeyType type : kKeyTypes) {
      certificate = issue(type);
      ClientHandshake client(context, terms());
      ServerSetup asking = setup();
      asking.trust_pem = pki.authority.cert_pem();
      asking.requires_client = true;
      ASSERT_EQ(run(client, asking), Step::kDone) << client.failure().detail;
      EXPECT_TRUE(server->handshake());
      EXPECT_EQ(server->client_der(), std::string(own_der.begin(), own_der.end()));
      EXPECT_TRUE(client.outcome().certificate_requested);
      expect_data(client.finish());
    }
  }
}

TEST_F(Connecting, GivesSecretsThatOpenAndSealWithEverySuite) {
  const auto context = pki.client_context();
  for (const CipherSuite suite : kCipherSuites) {
    ClientHandshake client(context, {.refuse = anyone});
    ASSERT_EQ(run(client, {.certificate = &certificate, .ciphersuites = std::string(name(suite))}),
              Step::kDone);
    const Outcome outcome = client.finish();
    EXPECT_EQ(outcome.cipher, name(suite));
    expect_data(outcome);
  }
  const auto rsa = issue(KeyType::kRsa2048);
  for (const Tls12Suite& suite : kTls12Suites) {
    ClientHandshake client(context, {.min_version = RecordVersion::kTls12, .refuse = anyone});
    const bool of_rsa = suite.name.starts_with("ECDHE-RSA");
    ASSERT_EQ(run(client, {.certificate = of_rsa ? &rsa : &certificate,
                           .cipher_list = std::string(suite.name),
                           .max_version = TLS1_2_VERSION}),
              Step::kDone)
        << suite.name;
    const Outcome outcome = client.finish();
    EXPECT_EQ(outcome.version, "TLSv1.2");
    EXPECT_EQ(outcome.cipher, suite.name);
    EXPECT_EQ(outcome.state.tx.rec_seq, 1U) << "Finished was the first";
    EXPECT_EQ(outcome.state.rx.rec_seq, 1U);
    expect_data(outcome);
  }
}

TEST_F(Connecting, AnswersAHelloRetryRequest) {
  pki.settings.groups = "X25519:P-384";
  ClientHandshake client(pki.client_context(), {.server_name = "orders.test", .refuse = anyone});
  ASSERT_EQ(run(client, {.certificate = &certificate, .groups = "P-384"}), Step::kDone)
      << client.failure().detail;
  const Outcome outcome = client.finish();
  EXPECT_EQ(outcome.group, "P-384");
  expect_data(outcome);
}

TEST_P(ConnectingBy, MayComeInPiecesOfOneByte) {
  ClientHandshake client(pki.client_context(), terms());
  server.emplace(setup());
  ASSERT_EQ(shuttle(client, *server, 1), Step::kDone) << client.failure().detail;
  expect_data(client.finish());
}

// ---- what is offered

TEST_F(Connecting, NamesNoServerByAnAddress) {
  for (const std::string_view literal : {"192.0.2.7", "2001:db8::7", "", "."}) {
    ClientHandshake client(pki.client_context(), {.server_name = literal, .refuse = anyone});
    ASSERT_EQ(run(client, {.certificate = &certificate}), Step::kDone) << literal;
    EXPECT_EQ(server->sni(), "") << literal;
  }
}

TEST_F(Connecting, RefusesTermsThatNoHelloHasRoomFor) {
  const std::string long_name(256, 'a');
  const std::string_view protocol = long_name;
  const auto context = pki.client_context();
  EXPECT_DEATH(ClientHandshake(context, {.server_name = long_name, .refuse = anyone}), "");
  EXPECT_DEATH(ClientHandshake(context, {.alpn = {&protocol, 1}, .refuse = anyone}), "");
  EXPECT_DEATH(ClientHandshake(context, {.server_name = "orders.test"}), "")
      << "nobody to judge the server";
}

TEST_P(ConnectingBy, LetsTheServerChooseNoProtocol) {
  const std::string_view protocols[] = {"h2"};
  ClientTerms offering = terms();
  offering.alpn = protocols;
  ClientHandshake client(pki.client_context(), offering);
  ASSERT_EQ(run(client, setup()), Step::kDone);
  EXPECT_EQ(client.finish().alpn, "");
}

// RFC 7301 3.2. Where OpenSSL looks at it, it says decode_error; else we say illegal_parameter.
TEST_P(ConnectingBy, RefusesAProtocolThatWasNotOffered) {
  const std::string_view protocols[] = {"h2", "http/1.1"};
  ServerSetup choosing = setup();
  for (const char* wrong : {"h3", "http/1", "h2http/1.1"}) {
    ClientTerms offering = terms();
    offering.alpn = protocols;
    ClientHandshake client(pki.client_context(), offering);
    choosing.alpn = wrong;
    ASSERT_EQ(run(client, choosing), Step::kFailed) << wrong;
    EXPECT_EQ(to_string(client.failure().result), "unexpected_message");
    EXPECT_THAT(server->alert(), AnyOf(SSL_AD_DECODE_ERROR, SSL_AD_ILLEGAL_PARAMETER));
    EXPECT_EQ(client.failure().detail,
              "chose ALPN protocol " + std::string(wrong) + ", not h2 or http/1.1");
  }
}

// OpenSSL's server sends no_application_protocol where its callback says so.
TEST_P(ConnectingBy, TellsOfAnAlertOfTheServers) {
  const std::string_view protocols[] = {"h2"};
  ClientTerms offering = terms();
  offering.alpn = protocols;
  ClientHandshake client(pki.client_context(), offering);
  server.emplace(setup());
  SSL_CTX_set_alpn_select_cb(
      SSL_get_SSL_CTX(server->ssl()),
      [](SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned, void*) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
      },
      nullptr);
  ASSERT_EQ(shuttle(client, *server), Step::kFailed);
  EXPECT_EQ(to_string(client.failure().result), "no_application_protocol");
  EXPECT_THAT(client.failure().detail, HasSubstr("no application protocol"));
}

// ---- versions

TEST_F(Connecting, TakesTls12OnlyWhereTheTermsAllowIt) {
  const ServerSetup old{.certificate = &certificate, .max_version = TLS1_2_VERSION};
  ClientHandshake strict(pki.client_context(), {.refuse = anyone});
  ASSERT_EQ(run(strict, old), Step::kFailed);
  EXPECT_TRUE(server->failed());
  ClientHandshake lenient(pki.client_context(),
                          {.min_version = RecordVersion::kTls12, .refuse = anyone});
  ASSERT_EQ(run(lenient, old), Step::kDone);
  EXPECT_EQ(lenient.finish().version, "TLSv1.2");
  ClientHandshake both(pki.client_context(),
                       {.min_version = RecordVersion::kTls12, .refuse = anyone});
  ASSERT_EQ(run(both, {.certificate = &certificate}), Step::kDone);
  EXPECT_EQ(both.finish().version, "TLSv1.3");
}

TEST_F(Connecting, RefusesTls12WithoutExtendedMasterSecret) {
  ClientHandshake client(pki.client_context(),
                         {.min_version = RecordVersion::kTls12, .refuse = anyone});
  ASSERT_EQ(run(client, {.certificate = &certificate,
                         .max_version = TLS1_2_VERSION,
                         .options = SSL_OP_NO_EXTENDED_MASTER_SECRET}),
            Step::kFailed);
  EXPECT_EQ(to_string(client.failure().result), "key_exchange_failure");
  EXPECT_THAT(client.failure().detail, HasSubstr("extended_master_secret"));
  EXPECT_EQ(server->alert(), SSL_AD_HANDSHAKE_FAILURE);
}

TEST_F(Connecting, TakesTheSuitesAndGroupsOfItsSettings) {
  pki.settings.ciphersuites = {"TLS_AES_256_GCM_SHA384"};
  pki.settings.groups = "P-384";
  ClientHandshake client(pki.client_context(), {.refuse = anyone});
  ASSERT_EQ(run(client, {.certificate = &certificate}), Step::kDone);
  EXPECT_EQ(client.outcome().cipher, "TLS_AES_256_GCM_SHA384");
  EXPECT_EQ(client.outcome().group, "P-384");
  ClientHandshake other(pki.client_context(), {.refuse = anyone});
  ASSERT_EQ(run(other, {.certificate = &certificate, .ciphersuites = "TLS_AES_128_GCM_SHA256"}),
            Step::kFailed);
  EXPECT_EQ(to_string(other.failure().result), "peer_connection_closed");
}

// ---- our certificate

TEST_P(ConnectingBy, GivesNoCertificateWhereItIsToPresentNone) {
  ClientHandshake client(pki.client_context(Presents::kNothing), terms());
  ServerSetup asking = setup();
  asking.trust_pem = pki.authority.cert_pem();
  ASSERT_EQ(run(client, asking), Step::kDone);
  EXPECT_TRUE(server->handshake());
  EXPECT_EQ(server->client_der(), "");
  EXPECT_TRUE(client.outcome().certificate_requested);
  expect_data(client.finish());
}

TEST_P(ConnectingBy, NeedsNoPairsOfItsOwn) {
  pki.files.pairs.clear();
  pki.files.trust_only = true;
  ClientHandshake client(pki.client_context(Presents::kCertificates), terms());
  ServerSetup asking = setup();
  asking.trust_pem = pki.authority.cert_pem();
  ASSERT_EQ(run(client, asking), Step::kDone) << client.failure().detail;
  EXPECT_EQ(server->client_der(), "");
  EXPECT_TRUE(client.outcome().certificate_requested);
}

// In TLS 1.3 the server's refusal comes when the client is done (RFC 8446 4.4.2.4): under the
// application keys, for the record layer.
TEST_F(Connecting, LeavesTheAlertOfAServerThatRequiresACertificate) {
  ClientHandshake client(pki.client_context(), {.refuse = anyone});
  ASSERT_EQ(run(client, {.certificate = &certificate,
                         .trust_pem = pki.authority.cert_pem(),
                         .requires_client = true}),
            Step::kDone);
  EXPECT_TRUE(server->failed());
  const Outcome outcome = client.finish();
  EXPECT_EQ(open_all(outcome.leftover, outcome.state),
            (std::string{2, static_cast<char>(SSL_AD_CERTIFICATE_REQUIRED)}));
  ClientHandshake old(pki.client_context(),
                      {.min_version = RecordVersion::kTls12, .refuse = anyone});
  ASSERT_EQ(run(old, {.certificate = &certificate,
                      .trust_pem = pki.authority.cert_pem(),
                      .requires_client = true,
                      .max_version = TLS1_2_VERSION}),
            Step::kFailed);
  EXPECT_EQ(to_string(old.failure().result), "peer_connection_closed");
}

TEST_F(Connecting, PresentsTheCurveThatTheServerTakes) {
  const auto other = pki.authority.issue({.cn = "other", .key_type = KeyType::kEcdsaP384});
  pki.files.pairs.push_back(
      {pki.dir.write("384.pem", other.chain_pem), pki.dir.write_secret("384.key", other.key_pem)});
  const auto context = pki.client_context(Presents::kCertificates);
  const auto der_for = [&](const std::string& signatures) {
    ClientHandshake client(context, {.refuse = anyone});
    EXPECT_EQ(run(client, {.certificate = &certificate,
                           .trust_pem = pki.authority.cert_pem(),
                           .requires_client = true,
                           .client_signatures = signatures}),
              Step::kDone);
    EXPECT_TRUE(server->handshake());
    return server->client_der();
  };
  const auto text = [](const std::vector<unsigned char>& der) {
    return std::string(der.begin(), der.end());
  };
  EXPECT_EQ(der_for("ecdsa_secp256r1_sha256"), text(test::to_der(pki.own.x509.get())));
  EXPECT_EQ(der_for("ecdsa_secp384r1_sha384"), text(test::to_der(other.x509.get())));
}

TEST_F(Connecting, PresentsItsIntermediates) {
  const auto intermediate = pki.authority.intermediate();
  pki.own = intermediate.issue({.cn = "gateway"});
  pki.files.pairs = {{pki.dir.write("own.pem", pki.own.chain_pem),
                      pki.dir.write_secret("own.key", pki.own.key_pem)}};
  ClientHandshake client(pki.client_context(Presents::kCertificates), {.refuse = anyone});
  ASSERT_EQ(run(client, {.certificate = &certificate,
                         .trust_pem = pki.authority.cert_pem(),
                         .requires_client = true}),
            Step::kDone);
  EXPECT_TRUE(server->handshake()) << "the server found the path to its root";
}

}  // namespace
}  // namespace sallyport::ktls::testing
