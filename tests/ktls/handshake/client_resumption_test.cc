// Sessions of our client's side with OpenSSL's server: made of tickets that come when the record
// layer has taken over, kept by what they are good for, judged again before they are offered.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/session_store.h"
#include "ktls/handshake/ticket_taker.h"
#include "ktls/records/userspace_records.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/records/layer_fixture.h"

namespace sallyport::ktls::testing {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using Step = ClientHandshake::Step;
using Presents = ClientContext::Presents;

std::optional<std::string> whoever(const PeerTrust&) {
  return std::nullopt;
}

/// For each version.
class Resuming : public ::testing::Test, public ::testing::WithParamInterface<RecordVersion> {
 protected:
  static bool tls12() { return GetParam() == RecordVersion::kTls12; }
  ServerSetup setup() const {
    const int version = tls12() ? TLS1_2_VERSION : TLS1_3_VERSION;
    return {.certificate = &certificate,
            .min_version = version,
            .max_version = version,
            .tickets = tickets,
            .ticket_secret = 1};
  }
  // A handshake and what comes behind it: the server's tickets and its data, by a record layer.
  Outcome connect(ClientTerms terms = {.refuse = whoever}) {
    return connect_by(std::move(terms), setup());
  }
  Outcome connect_by(ClientTerms terms, const ServerSetup& by) {
    terms.min_version = GetParam();
    terms.session = store->take(scope, test_clock());
    offered = terms.session != nullptr;
    ClientHandshake client(context, std::move(terms));
    server.emplace(by);
    last = meet(client);
    if (last != Step::kDone) {
      failure = client.failure();
      return {};
    }
    client.intern_trust();
    sink = client.collect_sessions(into_store());
    EXPECT_EQ(sink == nullptr, tls12());
    server->give(client.take_output());
    EXPECT_TRUE(server->handshake());
    Outcome outcome = client.finish();
    exchange(outcome);
    return outcome;
  }
  TicketTaker::Keep into_store() {
    return [this](ClientSession session) { store->remember(scope, std::move(session)); };
  }
  // Up to our last flight, which is not sent: the tickets are not there yet.
  Step meet(ClientHandshake& client) {
    Step step = client.advance();
    while (step == Step::kWantRead) {
      server->give(client.output());
      client.output_sent();
      (void)server->handshake();
      const std::string sent = server->take();
      if (sent.empty()) break;
      client.feed(bytes_of(sent));
      step = client.advance();
    }
    return step;
  }
  void exchange(const Outcome& outcome) {
    if (before_data) before_data();
    EXPECT_TRUE(server->write("data"));
    if (behind_data) behind_data();
    SSL_shutdown(server->ssl());
    const std::string sent = server->take();
    iouring::SocketPair sockets = iouring::unix_pair(*shard.ring);
    auto layer = userspace_records(std::move(sockets.right), outcome.state, shard.pools(),
                                   outcome.leftover, Role::kClient);
    layer->collect_tickets(std::move(sink));
    Story story;
    shard.ring->run(hear(*layer, sockets.left, sent, story));
    EXPECT_EQ(story.end, Kind::kCloseNotify) << ktls::to_string(story.error.failure);
    EXPECT_EQ(story.data.size(), 4U);
    EXPECT_EQ(layer->release_tickets(), nullptr) << "not kept behind the server's data";
  }
  static iouring::Task<void> hear(RecordLayer& layer, iouring::Socket& wire, std::string sent,
                                  Story& story) {
    const auto went = co_await wire.send_all(bytes_of(sent));
    EXPECT_TRUE(went);
    const auto ended = co_await wire.shutdown_write();
    EXPECT_TRUE(ended);
    co_await tell(layer, story);
  }

  TestServer pki;
  test::TestCertificate certificate = pki.authority.issue({.dns = {"orders.test"}});
  std::shared_ptr<ClientContext> context = pki.client_context();
  std::shared_ptr<SessionStore> store = std::make_shared<SessionStore>();
  Sha256 scope{1};
  unsigned tickets = 1;
  Shard shard;
  std::optional<MemoryServer> server;
  std::unique_ptr<TicketSink> sink;
  std::function<void()> before_data, behind_data;
  Step last = Step::kWantRead;
  bool offered = false;
  HandshakeFailure failure;
};
INSTANTIATE_TEST_SUITE_P(Each, Resuming,
                         ::testing::Values(RecordVersion::kTls12, RecordVersion::kTls13));

TEST_P(Resuming, KeepsWhoTheServerIs) {
  const Outcome full = connect();
  ASSERT_EQ(last, Step::kDone) << failure.detail;
  EXPECT_FALSE(full.resumed);
  set_clock_offset(minutes(30));
  for (int i = 0; i < 3; ++i) {
    const Outcome again = connect();
    ASSERT_EQ(last, Step::kDone) << failure.detail;
    EXPECT_TRUE(again.resumed) << i;
    EXPECT_TRUE(SSL_session_reused(server->ssl()));
    EXPECT_EQ(again.trust, full.trust) << "interned";
    EXPECT_EQ(again.authenticated_at, full.authenticated_at);
    EXPECT_EQ(again.version, full.version);
    EXPECT_FALSE(again.group.empty());
  }
}

TEST_P(Resuming, UsesATicketOfTls13Once) {
  (void)connect();
  const auto first = store->take(scope, test_clock());
  ASSERT_TRUE(first);
  const auto second = store->take(scope, test_clock());
  EXPECT_EQ(second != nullptr, tls12());
  if (second) EXPECT_NE(second->session, first->session) << "a copy";
}

TEST_P(Resuming, GoesOnInTheNextGenerationOfTheSameTrust) {
  const Outcome full = connect();
  context = pki.client_context(Presents::kCertificates);
  const Outcome again = connect();
  ASSERT_EQ(last, Step::kDone) << failure.detail;
  EXPECT_TRUE(again.resumed);
  EXPECT_EQ(*again.trust, *full.trust);
}

TEST_P(Resuming, IsFullWhereTheServerForgot) {
  (void)connect();
  ServerSetup other = setup();
  other.ticket_secret = 2;
  const Outcome full = connect_by({.refuse = whoever}, other);
  EXPECT_TRUE(offered);
  ASSERT_EQ(last, Step::kDone) << failure.detail;
  EXPECT_FALSE(full.resumed);
  EXPECT_TRUE(connect_by({.refuse = whoever}, other).resumed);
}

// ---- judged again: what is refused is not offered, and the full handshake says why

TEST_P(Resuming, RefusesTheServerThatIsNotWantedAnyMore) {
  (void)connect();
  (void)connect({.refuse = [](const PeerTrust&) { return std::optional<std::string>("not it"); }});
  EXPECT_TRUE(offered);
  ASSERT_EQ(last, Step::kFailed);
  EXPECT_EQ(to_string(failure.result), "not_authorized");
  EXPECT_FALSE(SSL_session_reused(server->ssl()));
}

TEST_P(Resuming, RefusesAServerThatWasRevokedMeanwhile) {
  pki.files.crls = {pki.dir.write("a.crl", pki.authority.crl())};
  context = pki.client_context();
  (void)connect();
  ASSERT_EQ(last, Step::kDone) << failure.detail;
  pki.dir.write("a.crl", pki.authority.crl({certificate.serial}));
  context = pki.client_context();
  (void)connect();
  EXPECT_TRUE(offered);
  ASSERT_EQ(last, Step::kFailed);
  EXPECT_EQ(to_string(failure.result), "certificate_revoked");
}

TEST_P(Resuming, RefusesAServerWhoseAnchorIsGone) {
  (void)connect();
  const test::TestAuthority other("B");
  pki.files.ca = {{std::nullopt, pki.dir.write("b.pem", other.cert_pem())}};
  pki.files.pairs.clear();
  auto own = other.issue({.cn = "gateway", .dns = {"gateway.test"}});
  pki.files.pairs = {
      {pki.dir.write("b-own.pem", own.chain_pem), pki.dir.write_secret("b-own.key", own.key_pem)}};
  context = pki.client_context();
  ASSERT_TRUE(context);
  (void)connect();
  EXPECT_TRUE(offered);
  ASSERT_EQ(last, Step::kFailed);
  EXPECT_EQ(to_string(failure.result), "certificate_authority_invalid");
}

TEST_P(Resuming, EndsWithTheServersCertificate) {
  certificate = pki.authority.issue({.dns = {"orders.test"}, .not_after = hours(1)});
  (void)connect();
  set_clock_offset(hours(2));
  EXPECT_EQ(store->take(scope, test_clock()), nullptr);
}

// Renewed by each connection, a session would otherwise never meet a certificate again.
TEST_P(Resuming, EndsSevenDaysBehindTheFullHandshake) {
  certificate = pki.authority.issue({.dns = {"orders.test"}, .not_after = hours(24 * 365)});
  (void)connect();
  const auto first = store->take(scope, test_clock());
  ASSERT_TRUE(first);
  const auto authenticated_at = first->authenticated_at;
  EXPECT_LE(first->expires_at, authenticated_at + hours(24 * 7));
  ClientSession old{.session = SslSessionPtr(SSL_SESSION_dup(first->session.get())),
                    .trust = first->trust,
                    .authenticated_at = test_clock() - hours(24 * 7) + minutes(1),
                    .expires_at = test_clock() + minutes(1),
                    .version = first->version};
  store = std::make_shared<SessionStore>();
  store->remember(scope, std::move(old));
  EXPECT_TRUE(connect().resumed);
  const auto renewed = store->take(scope, test_clock());
  ASSERT_TRUE(renewed);
  EXPECT_LE(renewed->expires_at, test_clock() + minutes(1));
}

// ---- tickets: bounded, and no harm to the connection

class TicketsOfAServer : public Resuming {};
INSTANTIATE_TEST_SUITE_P(Tls13, TicketsOfAServer, ::testing::Values(RecordVersion::kTls13));

unsigned kept(SessionStore& store, const Sha256& scope) {
  unsigned count = 0;
  while (store.take(scope, test_clock())) ++count;
  return count;
}

TEST_P(TicketsOfAServer, AreTakenUpToABound) {
  tickets = 40;
  (void)connect();
  EXPECT_EQ(kept(*store, scope), TicketTaker::kMaxTickets);
}

TEST_P(TicketsOfAServer, AreNotWaitedForBehindItsData) {
  tickets = 0;
  behind_data = [this] {
    SSL_new_session_ticket(server->ssl());
    EXPECT_TRUE(server->write(""));
    SSL_do_handshake(server->ssl());
  };
  (void)connect();
  EXPECT_EQ(kept(*store, scope), 0U);
}

TEST_P(TicketsOfAServer, FollowAKeyUpdateAsWell) {
  tickets = 0;
  before_data = [this] {
    SSL_key_update(server->ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_do_handshake(server->ssl());
    SSL_new_session_ticket(server->ssl());
    SSL_do_handshake(server->ssl());
  };
  (void)connect();
  EXPECT_EQ(kept(*store, scope), 1U);
}

// What is given to the sink by hand.
class TicketByHand : public TicketsOfAServer {
 protected:
  std::unique_ptr<TicketSink> sink_of_a_connection() {
    tickets = 0;
    ClientTerms terms{.refuse = whoever};
    ClientHandshake client(context, std::move(terms));
    server.emplace(setup());
    EXPECT_EQ(meet(client), Step::kDone);
    client.intern_trust();
    return client.collect_sessions(into_store());
  }
  // RFC 8446 4.6.1: lifetime, age_add, a nonce of one byte, a ticket, no extensions.
  static Bytes ticket(std::size_t size, unsigned lifetime = 60) {
    Bytes body(4 + 4 + 2 + 2 + size + 2);
    body[2] = static_cast<std::byte>(lifetime >> 8);
    body[3] = static_cast<std::byte>(lifetime);
    body[8] = std::byte{1};
    body[10] = static_cast<std::byte>(size >> 8);
    body[11] = static_cast<std::byte>(size);
    return body;
  }
};
INSTANTIATE_TEST_SUITE_P(Tls13, TicketByHand, ::testing::Values(RecordVersion::kTls13));

TEST_P(TicketByHand, IsKeptUpToItsSize) {
  auto taker = sink_of_a_connection();
  EXPECT_TRUE(taker->take(ticket(TicketTaker::kMaxTicket)));
  EXPECT_EQ(kept(*store, scope), 1U);
  EXPECT_FALSE(taker->take(ticket(TicketTaker::kMaxTicket + 1))) << "the second one, dropped";
  EXPECT_EQ(kept(*store, scope), 0U);
}

TEST_P(TicketByHand, OfAnySizeIsNoHarm) {
  auto taker = sink_of_a_connection();
  EXPECT_TRUE(taker->take(ticket(16'000)));
  EXPECT_EQ(kept(*store, scope), 0U);
}

TEST_P(TicketByHand, OfNoLifetimeIsNotKept) {
  auto taker = sink_of_a_connection();
  EXPECT_TRUE(taker->take(ticket(32, 0)));
  EXPECT_EQ(kept(*store, scope), 0U);
  EXPECT_FALSE(taker->take(ticket(32, 10)));
  const auto session = store->take(scope, test_clock());
  ASSERT_TRUE(session);
  EXPECT_LE(session->expires_at, test_clock() + std::chrono::seconds(10));
}

TEST_P(TicketByHand, ThatIsMalformedIsTheLast) {
  const Bytes good = ticket(32);
  for (std::size_t size = 0; size < good.size(); size += 3) {
    auto taker = sink_of_a_connection();
    EXPECT_FALSE(taker->take(std::span(good).first(size))) << size;
    EXPECT_EQ(kept(*store, scope), 0U);
  }
}

// ---- the store

TEST(SessionScope, DiffersInEachPart) {
  const std::string_view h2[] = {"h2"};
  const std::string_view both[] = {"h2", "http/1.1"};
  const std::string_view joined[] = {"h2http/1.1"};
  const SessionScope base{.endpoint = "10.0.0.1:443", .server_name = "a.test", .alpn = h2};
  EXPECT_EQ(base.digest(), SessionScope(base).digest());
  std::vector<SessionScope> others(8, base);
  others[0].endpoint = "10.0.0.2:443";
  others[1].server_name = "b.test";
  others[2].verify[31] = 1;
  others[3].trust[31] = 1;
  others[4].certificate[31] = 1;
  others[5].alpn = both;
  others[6].alpn = joined;
  others[7].min_version = RecordVersion::kTls12;
  others.push_back({.endpoint = "10.0.0.1:443a.test", .server_name = "", .alpn = h2});
  others.push_back(base);
  for (std::size_t i = 0; i < others.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      EXPECT_NE(others[i].digest(), others[j].digest()) << i << " and " << j;
}

class Store : public ::testing::Test {
 protected:
  static ClientSession session(std::chrono::seconds lifetime = hours(1)) {
    const auto now = test_clock();
    return {.session = SslSessionPtr(SSL_SESSION_new()),
            .trust = std::make_shared<const PeerTrust>(),
            .authenticated_at = now,
            .expires_at = now + lifetime};
  }
  static Sha256 scope(std::uint8_t number) { return {number}; }
};

TEST_F(Store, GivesASessionForItsScopeOnly) {
  SessionStore store;
  store.remember(scope(1), session());
  EXPECT_EQ(store.take(scope(2), test_clock()), nullptr);
  EXPECT_NE(store.take(scope(1), test_clock()), nullptr);
  EXPECT_EQ(store.take(scope(1), test_clock()), nullptr);
}

TEST_F(Store, GivesTheNewestThatHasNotExpired) {
  SessionStore store;
  store.remember(scope(1), session(hours(2)));
  store.remember(scope(1), session(hours(1)));
  const auto taken = store.take(scope(1), test_clock() + hours(1));
  ASSERT_TRUE(taken);
  EXPECT_GT(taken->expires_at, test_clock() + hours(1));
  EXPECT_EQ(store.take(scope(1), test_clock()), nullptr) << "the other one was dropped";
}

TEST_F(Store, KeepsTheNewestOfAScope) {
  SessionStore store;
  for (std::size_t i = 0; i < SessionStore::kMaxOfScope + 10; ++i)
    store.remember(scope(1), session(hours(i + 1)));
  for (std::size_t i = SessionStore::kMaxOfScope + 10; i > 10; --i) {
    const auto taken = store.take(scope(1), test_clock());
    ASSERT_TRUE(taken);
    EXPECT_EQ(taken->expires_at, test_clock() + hours(i));
  }
  EXPECT_EQ(store.take(scope(1), test_clock()), nullptr);
}

TEST_F(Store, KeepsTheNewestOfAll) {
  SessionStore store(3);
  for (std::uint8_t i = 1; i <= 3; ++i) store.remember(scope(i), session());
  EXPECT_NE(store.take(scope(1), test_clock()), nullptr);  // leaves a place
  for (std::uint8_t i = 4; i <= 5; ++i) store.remember(scope(i), session());
  EXPECT_EQ(store.take(scope(2), test_clock()), nullptr);
  for (std::uint8_t i = 3; i <= 5; ++i) EXPECT_EQ(kept(store, scope(i)), 1U);
}

TEST_F(Store, KeepsOneOfVersion12WhileItIsUsed) {
  SessionStore store(2);
  ClientSession old = session();
  old.version = RecordVersion::kTls12;
  store.remember(scope(1), std::move(old));
  store.remember(scope(2), session());
  EXPECT_NE(store.take(scope(1), test_clock()), nullptr);
  store.remember(scope(3), session());
  EXPECT_NE(store.take(scope(1), test_clock()), nullptr);
  EXPECT_EQ(store.take(scope(2), test_clock()), nullptr);
}

TEST_F(Store, WithoutCapacityKeepsNothing) {
  SessionStore store(0);
  store.remember(scope(1), session());
  EXPECT_EQ(store.take(scope(1), test_clock()), nullptr);
}

}  // namespace
}  // namespace sallyport::ktls::testing
