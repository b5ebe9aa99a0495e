#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/handshake/session_ticket.h"
#include "ktls/records/record_protection.h"
#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using Step = ServerHandshake::Step;
using std::chrono::hours;
using std::chrono::minutes;

/// A client's `session` whose ticket, sealed under `key`, has other content of the same size.
SslSessionPtr with_content(const SSL_SESSION& session, const TicketSecrets::Key& key,
                           const std::function<void(std::span<char>)>& change) {
  constexpr std::size_t kName = 16;
  constexpr std::size_t kIv = 16;
  constexpr std::size_t kMac = 32;
  const unsigned char* ticket = nullptr;
  std::size_t size = 0;
  SSL_SESSION_get0_ticket(&session, &ticket, &size);

  // Open (RFC 5077 4), change, and seal again.
  std::vector<unsigned char> state(size);
  int head = 0;
  int tail = 0;
  const EvpCipherCtxPtr cipher(EVP_CIPHER_CTX_new());
  EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_cbc(), nullptr, raw(key.cipher.bytes().data()),
                     ticket + kName);
  EVP_DecryptUpdate(cipher.get(), state.data(), &head, ticket + kName + kIv,
                    static_cast<int>(size - kName - kIv - kMac));
  EXPECT_EQ(EVP_DecryptFinal_ex(cipher.get(), state.data() + head, &tail), 1);
  const unsigned char* at = state.data();
  const SslSessionPtr inner(d2i_SSL_SESSION(nullptr, &at, head + tail));
  void* content = nullptr;
  std::size_t content_size = 0;
  EXPECT_EQ(SSL_SESSION_get0_ticket_appdata(inner.get(), &content, &content_size), 1);
  change({static_cast<char*>(content), content_size});
  std::vector<unsigned char> changed(
      static_cast<std::size_t>(i2d_SSL_SESSION(inner.get(), nullptr)));
  unsigned char* to = changed.data();
  i2d_SSL_SESSION(inner.get(), &to);
  const auto sealed = seal_session(key, std::as_bytes(std::span(changed)));
  EXPECT_TRUE(sealed && sealed->size() == size);

  // The client's form of the session holds the ticket as it is.
  std::string outer(static_cast<std::size_t>(i2d_SSL_SESSION(&session, nullptr)), '\0');
  to = reinterpret_cast<unsigned char*>(outer.data());
  i2d_SSL_SESSION(&session, &to);
  const std::string_view old(reinterpret_cast<const char*>(ticket), size);
  outer.replace(outer.find(old), size, reinterpret_cast<const char*>(sealed->data()), size);
  at = reinterpret_cast<const unsigned char*>(outer.data());
  return SslSessionPtr(d2i_SSL_SESSION(nullptr, &at, static_cast<long>(outer.size())));
}

class Resumption : public ::testing::Test {
 protected:
  Resumption() {
    pki.settings.process_tickets = TicketSecrets::random();
    certificate = pki.client();
  }

  struct Visit {
    bool done = false;
    std::string sni{};
    Outcome outcome{};
    std::vector<SslSessionPtr> sessions{};
    std::vector<std::byte> certificate{};
  };

  // One connection to `context`: handshake, tickets, end.
  Visit visit(const std::shared_ptr<ServerContext>& context, SSL_SESSION* session = nullptr,
              const std::string& sni = "a.test") {
    RoutedHandshake server(context, any_route());
    server.context = changes_to;
    server.ticket_binding = binding;
    server.certificate = wants_certificate;
    MemoryClient client({.certificate = &certificate, .sni = sni, .session = session});
    Visit result;
    result.done = shuttle(server, client) == Step::kDone;
    if (!result.done) {
      ADD_FAILURE() << to_string(server.failure().result) << ": " << server.failure().detail;
      return result;
    }
    server.intern_trust();
    result.certificate = server.take_certificate();
    server.issue_tickets();
    deliver(server, client);
    (void)client.read();
    result.sni = server.hello().sni;
    result.outcome = server.finish();
    // What is sealed behind the tickets must carry on their sequence numbers.
    client.give(seal("after the tickets", result.outcome.state));
    EXPECT_EQ(client.read(), "after the tickets");
    for (const SslSessionPtr& kept : client.sessions()) {
      SSL_SESSION_up_ref(kept.get());
      result.sessions.emplace_back(kept.get());
    }
    return result;
  }

  bool resumes(const std::shared_ptr<ServerContext>& context, const Visit& earlier) {
    return visit(context, earlier.sessions.at(0).get()).outcome.resumed;
  }

  // What the route asks for.
  std::shared_ptr<ServerContext> changes_to;
  const Sha256* binding = nullptr;
  bool wants_certificate = false;

  TestServer pki;
  test::TestCertificate certificate;
};

TEST_F(Resumption, TakesATicketUnderItsBindingOnly) {
  const auto context = pki.context();
  const Sha256 one{1}, other{2};
  for (const Sha256* const at : {&one, &other, static_cast<const Sha256*>(nullptr)}) {
    binding = &one;
    const Visit earned = visit(context);  // a client uses a ticket once
    binding = at;
    EXPECT_EQ(resumes(context, earned), at == &one);
  }
}

TEST_F(Resumption, IsAFullHandshakeWithoutTicketsWhereTheCertificateIsWanted) {
  const auto context = pki.context();
  const Visit before = visit(context);
  EXPECT_TRUE(before.certificate.empty()) << "nobody asked for it";
  wants_certificate = true;
  const Visit wanted = visit(context, before.sessions.at(0).get());
  EXPECT_FALSE(wanted.outcome.resumed);
  EXPECT_EQ(wanted.certificate, to_der(certificate.x509.get()));
  EXPECT_TRUE(wanted.sessions.empty());
  wants_certificate = false;
  EXPECT_TRUE(resumes(context, visit(context))) << "other routes do not pay for it";
}

// As the routes of a policy do: each handshake begins under the same.
TEST_F(Resumption, IsUnderTheContextThatTheHandshakeChangedTo) {
  const auto first = pki.context();
  const test::TestAuthority others("Others");
  pki.dir.write("others.pem", others.cert_pem() + pki.authority.cert_pem());
  pki.files.ca = {{std::nullopt, (pki.dir / "others.pem").string()}};
  const auto second = pki.context();
  changes_to = second;
  for (const auto& begins_under : {first, second}) {
    const Visit there = visit(first);  // a client uses a ticket once
    EXPECT_TRUE(resumes(begins_under, there));
  }
  const Visit there = visit(first);
  changes_to = nullptr;
  EXPECT_FALSE(resumes(first, there)) << "another trust";
}

TEST_F(Resumption, KeepsIdentityAndTheTimeOfTheFullHandshake) {
  const auto context = pki.context();
  const Visit full = visit(context);
  ASSERT_EQ(full.sessions.size(), 1U);
  EXPECT_FALSE(full.outcome.resumed);
  EXPECT_EQ(full.outcome.state.tx.rec_seq, 1U);

  set_clock_offset(hours(1));
  const Visit resumed = visit(context, full.sessions[0].get(), "b.test");
  EXPECT_TRUE(resumed.outcome.resumed);
  EXPECT_EQ(resumed.outcome.trust, full.outcome.trust) << "one object for one trust";
  EXPECT_EQ(resumed.outcome.authenticated_at, full.outcome.authenticated_at);
  EXPECT_EQ(resumed.sni, "b.test") << "routing goes by this handshake's name";
  EXPECT_EQ(resumed.outcome.group, full.outcome.group);
  ASSERT_EQ(resumed.sessions.size(), 1U) << "a resumed connection gets a new ticket";

  set_clock_offset(hours(7) + minutes(59));
  const Visit again = visit(context, resumed.sessions[0].get());
  EXPECT_TRUE(again.outcome.resumed);
  ASSERT_EQ(again.sessions.size(), 1U);
  set_clock_offset(hours(8));
  EXPECT_FALSE(resumes(context, again)) << "no ticket prolongs the age of the full handshake";
}

TEST_F(Resumption, WorksWithEverySuite) {
  for (const char* suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    pki.settings.ciphersuites = {suite};
    const auto context = pki.context();
    EXPECT_TRUE(resumes(context, visit(context))) << suite;
  }
}

TEST_F(Resumption, WorksOnAnotherShardAndAfterAReload) {
  const Visit full = visit(pki.context());
  const Visit second = visit(pki.context());  // OpenSSL's client uses a ticket once
  EXPECT_TRUE(resumes(pki.context(), full));
  pki.serve_with(test::KeyType::kEd25519);
  EXPECT_TRUE(resumes(pki.context(), second)) << "another leaf is no other trust";
}

TEST_F(Resumption, TicketsAreSmallAndHoldNoCertificate) {
  const Visit full = visit(pki.context());
  const unsigned char* ticket = nullptr;
  std::size_t size = 0;
  SSL_SESSION_get0_ticket(full.sessions.at(0).get(), &ticket, &size);
  EXPECT_LE(size, 500U);
}

TEST_F(Resumption, GivesAsManyTicketsAsConfigured) {
  pki.settings.tickets = 3;
  const Visit three = visit(pki.context());
  EXPECT_EQ(three.sessions.size(), 3U);
  EXPECT_EQ(three.outcome.state.tx.rec_seq, 3U);
  EXPECT_EQ(visit(pki.context(), three.sessions[2].get()).sessions.size(), 1U);

  pki.settings.tickets = 0;
  const Visit none = visit(pki.context(), three.sessions[0].get());
  EXPECT_FALSE(none.outcome.resumed);
  EXPECT_TRUE(none.sessions.empty());
  EXPECT_EQ(none.outcome.state.tx.rec_seq, 0U);
}

TEST_F(Resumption, GivesNewTicketsForThoseThatItDoesNotAccept) {
  const auto gives_new_one = [this](const Visit& earlier) {
    const Visit next = visit(pki.context(), earlier.sessions.at(0).get());
    EXPECT_FALSE(next.outcome.resumed);
    return next.sessions.size() == 1;
  };
  pki.settings.ciphersuites = {"TLS_AES_256_GCM_SHA384"};
  const Visit sha384 = visit(pki.context());
  pki.settings.ciphersuites = {"TLS_AES_128_GCM_SHA256"};
  EXPECT_TRUE(gives_new_one(sha384)) << "another hash";

  const Visit sealed = visit(pki.context());
  pki.settings.process_tickets = TicketSecrets::random();
  EXPECT_TRUE(gives_new_one(sealed)) << "another secret";

  const Visit trusted = visit(pki.context());
  pki.files.ca.push_back(
      {std::nullopt, pki.dir.write("more.pem", test::TestAuthority("B").cert_pem())});
  EXPECT_TRUE(gives_new_one(trusted)) << "another trust";
}

TEST_F(Resumption, GivesNoTicketBeforeItIsToldTo) {
  RoutedHandshake server(pki.context(), any_route());
  MemoryClient client({.certificate = &certificate});
  ASSERT_EQ(shuttle(server, client), Step::kDone);
  EXPECT_TRUE(client.sessions().empty());
  EXPECT_TRUE(server.output().empty());
}

TEST_F(Resumption, IsAFullHandshakeUnderAnotherTrust) {
  const Visit full = visit(pki.context());
  pki.files.ca.push_back(
      {std::nullopt, pki.dir.write("more.pem", test::TestAuthority("B").cert_pem())});
  EXPECT_FALSE(resumes(pki.context(), full));
}

TEST_F(Resumption, IsAFullHandshakeAtAnotherListenerSet) {
  const Visit full = visit(pki.context("one"));
  EXPECT_FALSE(resumes(pki.context("another"), full));
}

TEST_F(Resumption, IsAFullHandshakeUnderAnotherSecret) {
  const Visit full = visit(pki.context());
  pki.settings.process_tickets = TicketSecrets::random();
  EXPECT_FALSE(resumes(pki.context(), full));
}

TEST_F(Resumption, FollowsTheRotationOfASharedSecret) {
  const std::string old_secret(64, 'a');
  const std::string new_secret(64, 'b');
  pki.files.ticket_keys = pki.dir.write_secret("tickets", old_secret);
  const Visit full = visit(pki.context());
  const Visit second = visit(pki.context());
  pki.dir.write_secret("tickets", new_secret + "\n" + old_secret);
  const Visit rotated = visit(pki.context(), full.sessions.at(0).get());
  EXPECT_TRUE(rotated.outcome.resumed);
  pki.dir.write_secret("tickets", new_secret);
  EXPECT_TRUE(resumes(pki.context(), rotated)) << "the new ticket is under the first secret";
  EXPECT_FALSE(resumes(pki.context(), second));
}

TEST_F(Resumption, IsAFullHandshakeOnceRevoked) {
  const Visit first = visit(pki.context());
  const Visit full = visit(pki.context());
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl({1}))};
  EXPECT_TRUE(resumes(pki.context(), first)) << "CRLs are judged anew, not part of the trust";

  pki.dir.write("a.crl", pki.authority.crl({certificate.serial}));
  RoutedHandshake server(pki.context(), any_route());
  MemoryClient client({.certificate = &certificate, .session = full.sessions.at(0).get()});
  EXPECT_EQ(shuttle(server, client), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kCertificateRevoked);
  EXPECT_EQ(client.alert(), SSL_AD_CERTIFICATE_REVOKED);
}

TEST_F(Resumption, IsAFullHandshakeOnceTheCrlIsMissingOrExpired) {
  for (const auto& [crl, result] :
       {std::pair{test::TestAuthority("B").crl(), HandshakeResult::kCrlUnavailable},
        std::pair{pki.authority.crl({}, hours(-1)), HandshakeResult::kCrlExpired}}) {
    pki.files.crls.clear();
    const Visit full = visit(pki.context());
    pki.files.crls = {pki.dir.write("a.crl", crl)};
    RoutedHandshake server(pki.context(), any_route());
    MemoryClient client({.certificate = &certificate, .session = full.sessions.at(0).get()});
    EXPECT_EQ(shuttle(server, client), Step::kFailed);
    EXPECT_EQ(server.failure().result, result);
  }
}

// The key of an issuer that only clients send is not in the ticket, only its hash: a new list of it
// counts once a full handshake has verified it.
TEST_F(Resumption, IsAFullHandshakeUntilTheListOfASentIntermediateIsVerified) {
  const test::TestAuthority issuing = pki.authority.intermediate();
  certificate = issuing.issue({.dns = {"web"}});
  const Visit first = visit(pki.context());
  const Visit second = visit(pki.context());
  const Visit third = visit(pki.context());
  const std::string of_root = pki.dir.write("a.crl", pki.authority.crl());
  pki.files.crls = {of_root, pki.dir.write("b.crl", issuing.crl())};
  const auto listed = pki.context();
  EXPECT_FALSE(resumes(listed, first));
  EXPECT_TRUE(resumes(listed, second));

  pki.files.crls = {of_root,
                    pki.dir.write("b.crl", test::TestAuthority("Test Intermediate").crl())};
  RoutedHandshake server(pki.context(), any_route());
  MemoryClient client({.certificate = &certificate, .session = third.sessions.at(0).get()});
  EXPECT_EQ(shuttle(server, client), Step::kFailed) << "a list by another key of the same name";
  EXPECT_EQ(server.failure().result, HandshakeResult::kCrlUnavailable);
}

TEST_F(Resumption, IsAFullHandshakeOnceTheCertificateExpired) {
  certificate = pki.authority.issue({.dns = {"web"}, .not_after = hours(2)});
  const auto context = pki.context();
  const Visit first = visit(context);
  const Visit full = visit(context);
  set_clock_offset(hours(1));
  EXPECT_TRUE(resumes(context, first));
  set_clock_offset(hours(3));
  RoutedHandshake server(context, any_route());
  MemoryClient client({.certificate = &certificate, .session = full.sessions.at(0).get()});
  EXPECT_EQ(shuttle(server, client), Step::kFailed);
  EXPECT_EQ(server.failure().result, HandshakeResult::kCertificateExpired);
}

TEST_F(Resumption, ToleratesAClockThatIsAMinuteBehind) {
  const auto context = pki.context();
  const Visit first = visit(context);
  const Visit second = visit(context);
  set_clock_offset(-std::chrono::seconds(50));
  EXPECT_TRUE(resumes(context, first));
  set_clock_offset(-minutes(2));
  EXPECT_FALSE(resumes(context, second));
}

TEST_F(Resumption, GivesNoTicketToATrustThatIsAboutToEnd) {
  certificate = pki.authority.issue({.dns = {"web"}, .not_after = hours(2)});
  const auto context = pki.context();
  RoutedHandshake server(context, any_route());
  MemoryClient client({.certificate = &certificate});
  ASSERT_EQ(shuttle(server, client), Step::kDone);
  set_clock_offset(hours(2));  // while the backend was being dialled
  server.issue_tickets();
  EXPECT_TRUE(server.output().empty());
}

TEST_F(Resumption, GivesNoTicketToAnIdentityThatIsTooLargeForOne) {
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back(std::string(50, 'a') + std::to_string(i) + ".test");
  certificate = pki.authority.issue({.dns = names});
  const Visit large = visit(pki.context());
  EXPECT_EQ(large.outcome.trust->identity.dns.size(), 100U);
  EXPECT_TRUE(large.sessions.empty());
}

// A gateway of another release, with the same secrets, may put another content into its tickets.
TEST_F(Resumption, IsAFullHandshakeWhereTheTicketsContentIsOfAnotherVersion) {
  const auto context = pki.context();
  const Visit first = visit(context);
  const Visit second = visit(context);
  const auto credentials = pki.load();
  ASSERT_TRUE(credentials);
  const auto key =
      pki.settings.process_tickets->bind((*credentials)->trust_digest(), "one listener");
  const SslSessionPtr same = with_content(*first.sessions.at(0), key.front(), [](auto) {});
  EXPECT_TRUE(visit(context, same.get()).outcome.resumed);
  const SslSessionPtr newer = with_content(*second.sessions.at(0), key.front(),
                                           [](std::span<char> content) { content[0] = 99; });
  EXPECT_FALSE(visit(context, newer.get()).outcome.resumed);
}

TEST_F(Resumption, TellsTheClientHowLongATicketIsGood) {
  certificate = pki.authority.issue({.dns = {"web"}, .not_after = hours(2)});
  const Visit full = visit(pki.context());
  const unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(full.sessions.at(0).get());
  EXPECT_LE(hint, 7200U);
  EXPECT_GT(hint, 7000U);
}

TEST_F(Resumption, HidesTheAgeOfEachTicketByANumberOfItsOwn) {
  pki.settings.tickets = 3;
  RoutedHandshake server(pki.context(), any_route());
  MemoryClient client({.certificate = &certificate});
  std::set<std::string> numbers;
  SSL_set_msg_callback(client.ssl(), [](int written, int, int type, const void* data,
                                        std::size_t size, SSL*, void* seen) {
    const std::string_view message(static_cast<const char*>(data), size);
    if (written == 0 && type == SSL3_RT_HANDSHAKE && message[0] == SSL3_MT_NEWSESSION_TICKET)
      static_cast<std::set<std::string>*>(seen)->emplace(message.substr(8, 4));
  });
  SSL_set_msg_callback_arg(client.ssl(), &numbers);
  ASSERT_EQ(shuttle(server, client), Step::kDone);
  server.issue_tickets();
  deliver(server, client);
  (void)client.read();
  EXPECT_EQ(numbers.size(), 3U);
}

TEST_F(Resumption, SurvivesAHelloRetryRequest) {
  pki.settings.groups = "P-256";
  const auto context = pki.context();
  const Visit full = visit(context);  // the client's first share is X25519
  EXPECT_TRUE(resumes(context, full));
}

TEST_F(Resumption, RoutesAnewAndRefusesAnUnknownName) {
  const auto context = pki.context();
  const Visit full = visit(context);
  RoutedHandshake server(context, [](const ClientHello& hello) {
    EXPECT_EQ(hello.sni, "other.test");
    return std::unexpected(HandshakeResult::kNoRoute);
  });
  MemoryClient client(
      {.certificate = &certificate, .sni = "other.test", .session = full.sessions.at(0).get()});
  EXPECT_EQ(shuttle(server, client), Step::kFailed);
  EXPECT_EQ(client.alert(), SSL_AD_UNRECOGNIZED_NAME);
}

TEST_F(Resumption, AcceptsNoEarlyData) {
  const auto context = pki.context();
  const Visit full = visit(context);
  EXPECT_EQ(SSL_SESSION_get_max_early_data(full.sessions.at(0).get()), 0U);
}

}  // namespace
}  // namespace sallyport::ktls::testing
