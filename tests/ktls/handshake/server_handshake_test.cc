#include "ktls/handshake/server_handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using test::KeyType;
using Step = ServerHandshake::Step;
using ::testing::HasSubstr;

class Handshake : public ::testing::Test {
 protected:
  // One whole handshake with `setup`; says how it ended.
  Step run(RoutedHandshake& server, const ClientSetup& setup) {
    client.emplace(setup);
    return shuttle(server, *client);
  }

  TestServer pki;
  std::optional<MemoryClient> client;
};

TEST_F(Handshake, AuthenticatesAClientAndLeavesAPlainValue) {
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), [](const ClientHello& hello) {
    EXPECT_EQ(hello.sni, "Orders.Example.org");
    EXPECT_THAT(hello.alpn, ::testing::ElementsAre("h2", "http/1.1"));
    return std::string("http/1.1");
  });
  ASSERT_EQ(run(server, {.certificate = &certificate,
                         .trust_pem = pki.authority.cert_pem(),
                         .sni = "Orders.Example.org",
                         .alpn = {"h2", "http/1.1"}}),
            Step::kDone);
  EXPECT_FALSE(client->failed());
  const unsigned char* alpn = nullptr;
  unsigned alpn_size = 0;
  SSL_get0_alpn_selected(client->ssl(), &alpn, &alpn_size);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(alpn), alpn_size), "http/1.1");

  const Outcome outcome = server.finish();
  EXPECT_EQ(outcome.trust->identity.spiffe, "spiffe://example.org/ns/shop/sa/web");
  EXPECT_EQ(outcome.trust->anchor_key, public_key_hash(pki.authority.certificate().x509.get()));
  EXPECT_EQ(outcome.trust->links.size(), 1U);
  EXPECT_FALSE(outcome.resumed);
  EXPECT_EQ(server.hello().sni, "Orders.Example.org");
  EXPECT_EQ(outcome.version, "TLSv1.3");
  EXPECT_EQ(outcome.cipher, SSL_get_cipher_name(client->ssl()));
  EXPECT_TRUE(outcome.leftover.empty());
  EXPECT_EQ(outcome.state.rx.rec_seq, 0U);
  EXPECT_EQ(outcome.state.tx.rec_seq, 0U);
}

TEST_F(Handshake, MayGoOnOnAnotherThreadAndEndsOnThatOfTheShard) {
  const auto certificate = pki.client();
  const auto context = pki.context();
  RoutedHandshake elsewhere(context, any_route());
  std::vector<std::byte> unsent;
  std::thread([&] {
    ASSERT_EQ(run(elsewhere, {.certificate = &certificate}), Step::kDone);
    elsewhere.issue_tickets();
    const std::size_t pending = elsewhere.output().size();
    unsent = elsewhere.take_output();
    EXPECT_EQ(unsent.size(), pending);
    EXPECT_TRUE(elsewhere.output().empty());
  }).join();
  client->give(unsent);
  EXPECT_EQ(client->read(), "");
  EXPECT_EQ(client->sessions().size(), 1U);
  const Outcome first = elsewhere.finish();
  EXPECT_EQ(first.state.tx.rec_seq, 1U);
  client->give(seal("from the server", first.state));
  EXPECT_EQ(client->read(), "from the server");

  RoutedHandshake here(context, any_route());
  ASSERT_EQ(run(here, {.certificate = &certificate}), Step::kDone);
  EXPECT_EQ(here.finish().trust, first.trust) << "equal peers share one object";
}

TEST_F(Handshake, GivesSecretsThatOpenAndSealWithEverySuite) {
  const auto certificate = pki.client();
  const auto context = pki.context();
  for (const char* suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    RoutedHandshake server(context, any_route());
    ASSERT_EQ(run(server, {.certificate = &certificate, .ciphersuites = suite}), Step::kDone);
    const Outcome outcome = server.finish();
    EXPECT_EQ(outcome.cipher, suite);
    ASSERT_TRUE(client->write("from the client"));
    EXPECT_EQ(open_all(bytes_of(client->take()), outcome.state), "from the client");
    client->give(seal("from the server", outcome.state));
    EXPECT_EQ(client->read(), "from the server");
  }
}

TEST_F(Handshake, TakesEveryKindOfKeyOnBothSides) {
  for (const KeyType own :
       {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
    pki.serve_with(own);
    const auto context = pki.context();
    for (const KeyType type :
         {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
      const auto certificate = pki.client(type);
      RoutedHandshake server(context, any_route());
      EXPECT_EQ(run(server, {.certificate = &certificate, .trust_pem = pki.authority.cert_pem()}),
                Step::kDone)
          << server.failure().detail;
      EXPECT_FALSE(client->failed());
    }
  }
}

TEST_F(Handshake, ChoosesAmongSeveralPairsByWhatTheClientVerifies) {
  const auto rsa = pki.authority.issue({.dns = {"gateway.test"}, .key_type = KeyType::kRsa2048});
  pki.files.pairs.push_back(
      {pki.dir.write("rsa.pem", rsa.chain_pem), pki.dir.write_secret("rsa.key", rsa.key_pem)});
  const auto certificate = pki.client();
  const auto context = pki.context();
  for (const auto& [algorithms, expected] :
       {std::pair{"ECDSA+SHA256", EVP_PKEY_EC},
        std::pair{"RSA-PSS+SHA256:ECDSA+SHA384", EVP_PKEY_RSA}}) {
    RoutedHandshake server(context, any_route());
    client.emplace(ClientSetup{.certificate = &certificate});
    SSL_set1_sigalgs_list(client->ssl(), algorithms);
    (void)client->handshake();
    server.feed(bytes_of(client->take()));
    (void)server.advance();
    deliver(server, *client);
    (void)client->handshake();
    X509* presented = SSL_get0_peer_certificate(client->ssl());
    ASSERT_NE(presented, nullptr);
    EXPECT_EQ(EVP_PKEY_get_base_id(X509_get0_pubkey(presented)), expected);
  }
}

TEST_F(Handshake, VerifiesThroughIntermediatesOfClientOrBundle) {
  const auto issuing = pki.authority.intermediate("Issuing");
  const auto with_chain = issuing.issue({.dns = {"web"}});
  RoutedHandshake sent(pki.context(), any_route());
  EXPECT_EQ(run(sent, {.certificate = &with_chain}), Step::kDone) << sent.failure().detail;
  EXPECT_EQ(sent.outcome().trust->links.size(), 2U);

  auto alone = with_chain;
  alone.chain_pem = alone.cert_pem;
  RoutedHandshake missing(pki.context(), any_route());
  EXPECT_EQ(run(missing, {.certificate = &alone}), Step::kFailed);
  EXPECT_EQ(missing.failure().result, HandshakeResult::kCertificateAuthorityInvalid);

  pki.files.ca = {
      {std::nullopt, pki.dir.write("both.pem", pki.authority.cert_pem() + issuing.cert_pem())}};
  RoutedHandshake bundled(pki.context(), any_route());
  EXPECT_EQ(run(bundled, {.certificate = &alone}), Step::kDone) << bundled.failure().detail;
}

TEST_F(Handshake, DeliversFinishedSplitAtEachByte) {
  const auto certificate = pki.client();
  const auto context = pki.context();
  std::size_t flight = 1;
  for (std::size_t cut = 0; cut <= flight; ++cut) {
    RoutedHandshake server(context, any_route());
    client.emplace(ClientSetup{.certificate = &certificate});
    (void)client->handshake();
    server.feed(bytes_of(client->take()));
    ASSERT_EQ(server.advance(), Step::kWantRead);
    deliver(server, *client);
    ASSERT_TRUE(client->handshake());
    const std::string last = client->take();
    flight = last.size();
    const std::size_t at = std::min(cut, flight);
    server.feed(bytes_of(last).first(at));
    ASSERT_EQ(server.advance(), at == flight ? Step::kDone : Step::kWantRead) << cut;
    server.feed(bytes_of(last).subspan(at));
    ASSERT_EQ(server.advance(), Step::kDone) << cut;
    EXPECT_TRUE(server.finish().leftover.empty());
  }
}

TEST_F(Handshake, KnowsTheCertificateAsAClaimUntilFinished) {
  const auto certificate = pki.client();
  const auto context = pki.context();
  for (const bool spoilt : {false, true}) {
    RoutedHandshake server(context, any_route());
    client.emplace(ClientSetup{.certificate = &certificate});
    (void)client->handshake();
    server.feed(bytes_of(client->take()));
    ASSERT_EQ(server.advance(), Step::kWantRead);
    EXPECT_EQ(server.unproven(), nullptr);
    deliver(server, *client);
    ASSERT_TRUE(client->handshake());
    std::string last = client->take();
    if (spoilt) last.back() = static_cast<char>(last.back() ^ 1);
    server.feed(bytes_of(last).first(last.size() - 1));
    ASSERT_EQ(server.advance(), Step::kWantRead);
    ASSERT_NE(server.unproven(), nullptr);
    server.feed(bytes_of(last).last(1));
    ASSERT_EQ(server.advance(), spoilt ? Step::kFailed : Step::kDone);
    const auto claim = server.unproven();
    ASSERT_EQ(claim != nullptr, spoilt) << "once it is proven it is no claim any more";
    if (!claim) continue;
    EXPECT_EQ(claim->spiffe, "spiffe://example.org/ns/shop/sa/web");
    EXPECT_FALSE(claim->verified);
  }
}

TEST_F(Handshake, TakesFlightsByteByByte) {
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), any_route());
  client.emplace(ClientSetup{.certificate = &certificate});
  EXPECT_EQ(shuttle(server, *client, 1), Step::kDone);
}

TEST_F(Handshake, HandsOverWhatIsGluedToFinishedByteExact) {
  const auto certificate = pki.client();
  const auto context = pki.context();
  for (const std::size_t missing : {0, 1, 7, 20000}) {
    RoutedHandshake server(context, any_route());
    client.emplace(ClientSetup{.certificate = &certificate});
    (void)client->handshake();
    server.feed(bytes_of(client->take()));
    (void)server.advance();
    deliver(server, *client);
    ASSERT_TRUE(client->handshake());
    const std::string last = client->take();
    ASSERT_TRUE(client->write("first"));
    ASSERT_TRUE(client->write(std::string(30000, 'x')));
    std::string data = client->take();
    const std::string whole = data;
    const std::string rest = data.substr(data.size() - missing);
    data.resize(data.size() - missing);
    server.feed(bytes_of(last + data));
    ASSERT_EQ(server.advance(), Step::kDone);
    server.feed(bytes_of(rest));  // arrives while the backend is being dialled
    const Outcome outcome = server.finish();
    ASSERT_TRUE(std::ranges::equal(outcome.leftover, bytes_of(whole)));
    EXPECT_EQ(open_all(outcome.leftover, outcome.state), "first" + std::string(30000, 'x'));
  }
}

TEST_F(Handshake, AsksForAnotherKeyShareWhenItMust) {
  const auto certificate = pki.client();
  int asked = 0;
  RoutedHandshake server(pki.context(), [&](const ClientHello&) {
    ++asked;
    return std::string();
  });
  // The first group is the one that the client sends a share of.
  EXPECT_EQ(run(server, {.certificate = &certificate, .groups = "P-521:P-256"}), Step::kDone)
      << server.failure().detail;
  EXPECT_EQ(server.finish().group, "P-256");
  EXPECT_EQ(asked, 1) << "the answer to a HelloRetryRequest is not routed again";
}

bool knows_group(const char* group) {
  const SslCtxPtr probe(SSL_CTX_new(TLS_server_method()));
  const bool known = SSL_CTX_set1_groups_list(probe.get(), group) == 1;
  (void)OpensslError::drain();
  return known;
}

TEST_F(Handshake, NamesTheNegotiatedGroup) {
  const auto certificate = pki.client();
  for (const auto& [group, name] :
       {std::pair{"X25519", "X25519"}, std::pair{"X448", "X448"}, std::pair{"P-256", "P-256"},
        std::pair{"P-384", "P-384"}, std::pair{"P-521", "P-521"},
        std::pair{"X25519MLKEM768", "X25519MLKEM768"},
        std::pair{"SecP256r1MLKEM768", "SecP256r1MLKEM768"},
        std::pair{"SecP384r1MLKEM1024", "other"}, std::pair{"ffdhe2048", "other"}}) {
    if (!knows_group(group)) continue;  // the hybrid ones are of OpenSSL 3.5
    pki.settings.groups = group;
    RoutedHandshake server(pki.context(), any_route());
    ASSERT_EQ(run(server, {.certificate = &certificate, .groups = group}), Step::kDone) << group;
    EXPECT_EQ(server.outcome().group, name);
  }
}

TEST_F(Handshake, PrefersTheHybridGroupWhereOpensslHasIt) {
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), any_route());
  ASSERT_EQ(run(server, {.certificate = &certificate}), Step::kDone);
  EXPECT_EQ(server.outcome().group, knows_group("X25519MLKEM768") ? "X25519MLKEM768" : "X25519");
}

TEST_F(Handshake, RunsOnSeveralShardsOverOneGenerationOfCredentials) {
  // The shards learn at once which issuer signed the second list.
  const test::TestAuthority issuing = pki.authority.intermediate();
  const auto certificate = issuing.issue({.dns = {"web"}});
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({1, 2, 3})),
                    pki.dir.write("b.crl", issuing.crl({1, 2, 3}))};
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials) << credentials.error().message();
  std::atomic<int> done{0};
  {
    std::vector<std::jthread> shards;
    for (int shard = 0; shard < 4; ++shard) {
      shards.emplace_back([&] {
        const auto context = ServerContext::create(*credentials, "one listener", test_clock);
        if (!context) return;
        for (int i = 0; i < 10; ++i) {
          RoutedHandshake server(*context, any_route());
          MemoryClient peer({.certificate = &certificate});
          if (shuttle(server, peer) != Step::kDone) return;
          if ((*credentials)->judge(*server.outcome().trust, test_clock()).result() ==
              HandshakeResult::kSuccess)
            ++done;
        }
      });
    }
  }
  EXPECT_EQ(done, 40);
}

// ---- refusals

struct Refusal {
  HandshakeResult result;
  int alert;
};

class Refused : public Handshake {
 protected:
  void expect(const test::TestCertificate* certificate, Refusal refusal) {
    RoutedHandshake server(pki.context(), any_route());
    EXPECT_EQ(run(server, {.certificate = certificate}), Step::kFailed);
    EXPECT_EQ(to_string(server.failure().result), to_string(refusal.result));
    EXPECT_EQ(client->alert(), refusal.alert);
    EXPECT_FALSE(server.failure().detail.empty());
    if (certificate == nullptr) return;
    EXPECT_FALSE(server.failure().issuer.empty());
    EXPECT_FALSE(server.failure().serial.empty());
    EXPECT_TRUE(server.failure().not_after);
  }
  void expect(const test::LeafSpec& spec, Refusal refusal) {
    const auto certificate = pki.authority.issue(spec);
    expect(&certificate, refusal);
  }
};

TEST_F(Refused, WithoutACertificate) {
  expect(nullptr, {HandshakeResult::kCertificateRequired, 116});
}

TEST_F(Refused, WhenExpired) {
  expect(test::LeafSpec{.not_before = std::chrono::hours(-2), .not_after = std::chrono::hours(-1)},
         {HandshakeResult::kCertificateExpired, 45});
}

TEST_F(Refused, WhenNotYetValid) {
  expect(test::LeafSpec{.not_before = std::chrono::hours(1)},
         {HandshakeResult::kCertificateNotYetValid, 42});
}

TEST_F(Refused, FromAnotherAuthority) {
  const auto stranger = test::TestAuthority("Stranger").issue({.dns = {"web"}});
  expect(&stranger, {HandshakeResult::kCertificateAuthorityInvalid, 48});
}

TEST_F(Refused, FromAnotherAuthorityOfTheSameName) {
  const auto impostor = test::TestAuthority().issue({.dns = {"web"}});
  expect(&impostor, {HandshakeResult::kCertificateAuthorityInvalid, 48});
}

TEST_F(Refused, WhenSelfSigned) {
  const auto lonely = test::self_signed({.dns = {"web"}});
  expect(&lonely, {HandshakeResult::kCertificateAuthorityInvalid, 48});
}

TEST_F(Refused, WhenIssuedByALeaf) {
  const auto leaf = pki.authority.issue({.cn = "leaf"});
  const test::TestAuthority other;
  // No leaf can be made an authority here, so an authority plays a leaf's issuer without its chain.
  const auto orphan = other.intermediate().issue({.dns = {"web"}});
  expect(&orphan, {HandshakeResult::kCertificateAuthorityInvalid, 48});
}

TEST_F(Refused, WithoutClientAuthWhereThereIsAnExtendedKeyUsage) {
  expect(test::LeafSpec{.eku = test::Eku::kServerAuth},
         {HandshakeResult::kCertificatePurposeInvalid, 43});
  expect(test::LeafSpec{.eku = test::Eku::kOther},
         {HandshakeResult::kCertificatePurposeInvalid, 43});
}

TEST_F(Refused, NotWithoutAnExtendedKeyUsage) {
  const auto plain = pki.authority.issue({.dns = {"web"}, .eku = test::Eku::kAbsent});
  RoutedHandshake server(pki.context(), any_route());
  EXPECT_EQ(run(server, {.certificate = &plain}), Step::kDone) << server.failure().detail;
}

TEST_F(Refused, WithAMalformedSpiffeIdentity) {
  const Refusal malformed{HandshakeResult::kCertificateMalformed, 42};
  expect(test::LeafSpec{.spiffe = {"spiffe://td/a", "spiffe://td/b"}}, malformed);
  expect(test::LeafSpec{.spiffe = {"spiffe://td/a%20b"}}, malformed);
  expect(test::LeafSpec{.spiffe = {"spiffe://td/a/../b"}}, malformed);
  expect(test::LeafSpec{.spiffe = {"spiffe://td/a"}, .ca = true}, malformed);
}

TEST_F(Refused, WhenRevoked) {
  const auto certificate = pki.client();
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({certificate.serial}))};
  expect(&certificate, {HandshakeResult::kCertificateRevoked, 44});
}

TEST_F(Refused, WhenItsIntermediateIsRevoked) {
  const auto issuing = pki.authority.intermediate();
  const auto certificate = issuing.issue({.dns = {"web"}});
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({issuing.certificate().serial})),
                    pki.dir.write("b.crl", issuing.crl())};
  expect(&certificate, {HandshakeResult::kCertificateRevoked, 44});
}

TEST_F(Refused, WithoutTheCrlOfItsIssuer) {
  const auto issuing = pki.authority.intermediate();
  const auto certificate = issuing.issue({.dns = {"web"}});
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl())};
  expect(&certificate, {HandshakeResult::kCrlUnavailable, 48});
}

TEST_F(Refused, WhenTheCrlExpiredUnlessThatIsAccepted) {
  const auto certificate = pki.client();
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({1}, std::chrono::hours(-1)))};
  expect(&certificate, {HandshakeResult::kCrlExpired, 48});

  pki.settings.accept_expired_crl = true;
  RoutedHandshake server(pki.context(), any_route());
  EXPECT_EQ(run(server, {.certificate = &certificate}), Step::kDone) << server.failure().detail;

  pki.files.crls = {
      pki.dir.write("a.crl", pki.authority.crl({certificate.serial}, std::chrono::hours(-1)))};
  expect(&certificate, {HandshakeResult::kCertificateRevoked, 44});
}

TEST_F(Refused, NotWhenEveryCertificateIsCovered) {
  const auto issuing = pki.authority.intermediate();
  const auto certificate = issuing.issue({.dns = {"web"}});
  pki.files.crls = {pki.dir.write("both.crl", pki.authority.crl({5}) + issuing.crl({6}))};
  RoutedHandshake server(pki.context(), any_route());
  EXPECT_EQ(run(server, {.certificate = &certificate}), Step::kDone) << server.failure().detail;
}

TEST_F(Refused, ByAScopedBundleOutsideItsDomain) {
  pki.files.ca.front().domain = "example.org";
  const auto member = pki.authority.issue({.dns = {"web"}, .spiffe = {"spiffe://Example.org/a"}});
  RoutedHandshake server(pki.context(), any_route());
  ASSERT_EQ(run(server, {.certificate = &member}), Step::kDone) << server.failure().detail;
  EXPECT_EQ(server.outcome().trust->identity.spiffe, "spiffe://example.org/a");
  EXPECT_TRUE(server.outcome().trust->identity.dns.empty()) << "a scoped bundle vouches for no DNS";

  const Refusal refusal{HandshakeResult::kCertificateAuthorityInvalid, 48};
  expect(test::LeafSpec{.spiffe = {"spiffe://other.org/a"}}, refusal);
  expect(test::LeafSpec{.dns = {"web"}}, refusal);
  expect(test::LeafSpec{}, refusal);
}

TEST_F(Refused, ByRoute) {
  const auto certificate = pki.client();
  for (const auto& [why, alert] : {std::pair{HandshakeResult::kNoRoute, 112},
                                   std::pair{HandshakeResult::kNoApplicationProtocol, 120}}) {
    RoutedHandshake server(pki.context(),
                           [why](const ClientHello&) { return std::unexpected(why); });
    EXPECT_EQ(run(server, {.certificate = &certificate, .sni = "nobody.test"}), Step::kFailed);
    EXPECT_EQ(server.failure().result, why);
    EXPECT_EQ(client->alert(), alert);
    EXPECT_EQ(server.hello().sni, "nobody.test");
  }
}

TEST_F(Refused, WithAnOlderVersion) {
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), any_route());
  EXPECT_EQ(run(server, {.certificate = &certificate,
                         .min_version = TLS1_2_VERSION,
                         .max_version = TLS1_2_VERSION}),
            Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kProtocolVersionUnsupported);
  EXPECT_EQ(client->alert(), SSL_AD_PROTOCOL_VERSION);
}

TEST_F(Refused, WithoutASharedSuite) {
  pki.settings.ciphersuites = {"TLS_AES_128_GCM_SHA256"};
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), any_route());
  EXPECT_EQ(
      run(server, {.certificate = &certificate, .ciphersuites = "TLS_CHACHA20_POLY1305_SHA256"}),
      Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kCipherSuiteMismatch);
  EXPECT_EQ(client->alert(), SSL_AD_HANDSHAKE_FAILURE);
}

TEST_F(Refused, WithoutASharedGroup) {
  pki.settings.groups = "X25519";
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), any_route());
  EXPECT_EQ(run(server, {.certificate = &certificate, .groups = "P-384"}), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kKeyExchangeFailure);
  EXPECT_EQ(client->alert(), SSL_AD_HANDSHAKE_FAILURE);
}

TEST_F(Refused, WhenTheClientRefusesUs) {
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), any_route());
  const test::TestAuthority other("Other");
  EXPECT_EQ(run(server, {.certificate = &certificate, .trust_pem = other.cert_pem()}),
            Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kPeerConnectionClosed);
  EXPECT_THAT(server.failure().detail, HasSubstr("unknown ca"));
}

TEST_F(Refused, WithATamperedRecord) {
  const auto certificate = pki.client();
  RoutedHandshake server(pki.context(), any_route());
  client.emplace(ClientSetup{.certificate = &certificate});
  (void)client->handshake();
  server.feed(bytes_of(client->take()));
  (void)server.advance();
  deliver(server, *client);
  ASSERT_TRUE(client->handshake());
  std::string last = client->take();
  last.back() = static_cast<char>(last.back() ^ 1);
  server.feed(bytes_of(last));
  EXPECT_EQ(server.advance(), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kDecryptionFailed);
  deliver(server, *client);
  (void)client->read();
  EXPECT_EQ(client->alert(), SSL_AD_BAD_RECORD_MAC);
}

TEST_F(Refused, WhenItIsNotTls) {
  const auto context = pki.context();
  const std::string alert("\x15\x03\x03\x00\x02\x02\x0a", 7);
  for (const std::string& garbage :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string("\0\0\0\0\0\0", 6),
        std::string("SSH-2.0-x\r\n"), std::string("\x80\x2e\x01\x00\x02", 5),
        std::string("\x16garbage that goes on"), std::string("\x16\x03\x01\x00\x04nope", 9)}) {
    RoutedHandshake server(context, any_route());
    server.feed(bytes_of(garbage));
    EXPECT_EQ(server.advance(), Step::kFailed) << garbage;
    EXPECT_EQ(server.failure().result, HandshakeResult::kUnexpectedMessage)
        << server.failure().detail;
    const std::string sent(reinterpret_cast<const char*>(server.output().data()),
                           server.output().size());
    EXPECT_EQ(sent, alert) << garbage;
  }
}

TEST_F(Refused, WithAnOversizeRecord) {
  RoutedHandshake server(pki.context(), any_route());
  server.feed(bytes_of(std::string_view("\x16\x03\x01\x45\x00", 5)));
  EXPECT_EQ(server.advance(), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kUnexpectedMessage);
  EXPECT_EQ(server.output().size(), 7U);
}

TEST_F(Refused, NotBeforeTheHelloIsComplete) {
  RoutedHandshake server(pki.context(), any_route());
  client.emplace(ClientSetup{});
  (void)client->handshake();
  const std::string hello = client->take();
  server.feed(bytes_of(hello).first(hello.size() - 1));
  EXPECT_EQ(server.advance(), Step::kWantRead);
  EXPECT_TRUE(server.output().empty());
}

}  // namespace
}  // namespace sallyport::ktls::testing
