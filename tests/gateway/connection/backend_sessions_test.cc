// Sessions with backends: what they save, what they cost, and where none is used again.
#include "gateway/connection/backend_sessions.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <cstdint>
#include <ostream>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "gateway/connection/live_connection.h"
#include "tests/gateway/connection/backend_tls_fixture.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using Presents = ktls::ClientContext::Presents;

class BackendSessionsTest : public BackendTlsTest {
 protected:
  // The client knows nothing of the session of its backend.
  void serve_one() {
    TlsClient client = connect();
    if (client.echo("hello")) client.close_notify();
    client.receive_all();
  }
  // Of the connections that were served or refused, in order.
  std::vector<std::string> ends() const {
    std::vector<std::string> ends;
    for (const ConnectionFacts& each : log_.records)
      ends.push_back(std::string(to_string(each.reason)) +
                     (each.backend_resumed.value_or(false) ? ", resumed" : ""));
    return ends;
  }
  bool knows_backend() {
    bool knows = false;
    on_loop([&] {
      LiveWalk walk(state_);
      const LiveConnection* const connection = walk.next();
      knows = connection != nullptr && connection->backend_peer() != nullptr;
    });
    return knows;
  }
  unsigned waiting() {
    unsigned count = 0;
    on_loop([&] { count = state_.backend_sessions.waiting(); });
    return count;
  }
};

TEST_F(BackendSessionsTest, SaveTheServersProofOfWhoItIs) {
  const Backend backend(echo());
  serve_to(backend.address());
  serve_clients([this] {
    for (int i = 0; i < 4; ++i) serve_one();
  });
  EXPECT_EQ(ends(),
            (std::vector<std::string>{"done", "done, resumed", "done, resumed", "done, resumed"}));
  EXPECT_EQ(log_.records.back().backend_identity, kOrders);
  EXPECT_NE(registry_.scrape().find("sallyport_backend_tls_handshakes_total{route=\"orders\","
                                    "result=\"success\",resumed=\"true\"} 3"),
            std::string::npos);
}

TEST_F(BackendSessionsTest, AreUsedInVersion12) {
  rule_.min_version = ktls::RecordVersion::kTls12;
  const Backend backend(test::over_tls(
      {.certificate = certificate(), .max_version = TLS1_2_VERSION}, test::echo_over_tls));
  serve_to(backend.address());
  serve_clients([this] {
    for (int i = 0; i < 3; ++i) serve_one();
  });
  EXPECT_EQ(ends(), (std::vector<std::string>{"done", "done, resumed", "done, resumed"}));
}

TEST_F(BackendSessionsTest, AreUsedWhereTheServerAsksForOurCertificate) {
  presents_ = Presents::kCertificates;
  const Backend backend(test::over_tls(
      {.certificate = certificate(), .client_ca = pki_.authority.cert_pem()}, test::echo_over_tls));
  serve_to(backend.address());
  serve_clients([this] {
    for (int i = 0; i < 2; ++i) serve_one();
  });
  EXPECT_EQ(ends(), (std::vector<std::string>{"done", "done, resumed"}));
}

// The first connection is idle meanwhile.
TEST_F(BackendSessionsTest, AreThereSoonBehindTheOnlyTicketOfAServerThatSaysNothing) {
  timeouts_.backend_tickets = std::chrono::hours(1);
  const Backend backend(
      test::over_tls({.certificate = certificate(), .tickets = 1}, test::echo_over_tls));
  serve_to(backend.address());
  serve_clients([this] {
    TlsClient first = connect();
    test::wait_until("its backend is known", [this] { return knows_backend(); });
    test::wait_until("its ticket was taken", [this] { return waiting() == 0; });
    serve_one();
    first.close_notify();
    first.receive_all();
  });
  EXPECT_EQ(ends(), (std::vector<std::string>{"done, resumed", "done"}));
}

TEST_F(BackendSessionsTest, KeepOpensslsPartForABoundedTime) {
  timeouts_.backend_tickets = std::chrono::milliseconds(200);
  const Backend backend(
      test::over_tls({.certificate = certificate(), .tickets = 0}, test::echo_over_tls));
  serve_to(backend.address());
  serve_clients([this] {
    TlsClient client = connect();
    test::wait_until("its backend is known", [this] { return knows_backend(); });
    test::wait_until("it waits no more", [this] { return waiting() == 0; });
    EXPECT_TRUE(client.echo("hello"));
    client.close_notify();
    client.receive_all();
  });
  EXPECT_EQ(ends(), std::vector<std::string>{"done"});
}

TEST_F(BackendSessionsTest, KeepOpensslsPartOfABoundedNumber) {
  timeouts_.backend_tickets = std::chrono::hours(1);
  const Backend backend(
      test::over_tls({.certificate = certificate(), .tickets = 0}, test::echo_over_tls));
  serve_to(backend.address());
  constexpr unsigned kMore = BackendSessions::kMostWaiting + 4;
  serve_clients([&] {
    std::vector<TlsClient> clients;
    while (clients.size() < kMore) clients.push_back(connect());
    test::wait_until("all have a backend", [&] { return backend.accepted() == int{kMore}; });
    test::wait_until("most wait", [this] { return waiting() == BackendSessions::kMostWaiting; });
    for (TlsClient& each : clients) EXPECT_TRUE(each.echo("hello"));
    EXPECT_EQ(waiting(), 0U) << "not behind the server's data";
    for (TlsClient& each : clients) {
      each.close_notify();
      each.receive_all();
    }
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"done"});
}

TEST_F(BackendSessionsTest, OfVersion12NeedNoPlaceAmongThose) {
  timeouts_.backend_tickets = std::chrono::hours(1);
  rule_.min_version = ktls::RecordVersion::kTls12;
  const Backend silent(
      test::over_tls({.certificate = certificate(), .tickets = 0}, test::echo_over_tls));
  const Backend old(test::over_tls({.certificate = certificate(), .max_version = TLS1_2_VERSION},
                                   test::echo_over_tls));
  serve_to(silent.address());
  serve_clients([&] {
    std::vector<TlsClient> clients;
    while (clients.size() < BackendSessions::kMostWaiting) clients.push_back(connect());
    test::wait_until("all wait", [this] { return waiting() == BackendSessions::kMostWaiting; });
    on_loop([&] { serve_to(old.address()); });
    for (int i = 0; i < 2; ++i) serve_one();
    EXPECT_EQ(waiting(), BackendSessions::kMostWaiting);
    for (TlsClient& each : clients) {
      each.close_notify();
      each.receive_all();
    }
  });
  EXPECT_EQ(ends().at(0), "done");
  EXPECT_EQ(ends().at(1), "done, resumed");
}

class SessionMatrix;

/// What changes between two connections, and how the second one ends.
struct Change {
  const char* name;
  void (*make)(SessionMatrix& test);
  const char* end;
};
void PrintTo(const Change& change, std::ostream* out) {
  *out << change.name;
}

/// Two backends that resume each other's sessions, one of which is served to.
class SessionMatrix : public BackendSessionsTest, public ::testing::WithParamInterface<Change> {
 public:
  SessionMatrix() { presents_ = Presents::kCertificates; }

  void bundle(const std::string& more) {
    pki_.dir.write("ca.pem", pki_.authority.cert_pem() + more);
    pki_.files.ca = {{std::nullopt, (pki_.dir / "ca.pem").string()}};
  }
  void revoke(const std::vector<std::uint64_t>& serials) {
    pki_.files.crls = {pki_.dir.write("crl.pem", pki_.authority.crl(serials))};
  }

  void renew_ours() {
    const auto ours = pki_.authority.issue({.cn = "gateway", .dns = {"gateway.test"}});
    pki_.files.pairs = {{pki_.dir.write("renewed.pem", ours.chain_pem),
                         pki_.dir.write_secret("renewed.key", ours.key_pem)}};
  }

  using BackendTlsTest::pki_;
  using BackendTlsTest::presents_;
  using BackendTlsTest::rule_;
  test::TestCertificate server_ =
      certificate({.spiffe = {kOrders}, .not_after = std::chrono::hours(2)});
  Backend::Serve serve_ = test::over_tls({.certificate = server_}, test::echo_over_tls);
  Backend backend_one_{serve_}, backend_two_{serve_};
  DiscoveryGroup group_{{backend_one_.address()}, {}};
  std::chrono::seconds later_{0};
};

const Change kChanges[] = {
    {"Nothing", [](SessionMatrix&) {}, "done, resumed"},
    {"OtherEndpoint", [](SessionMatrix& it) { it.group_.targets = {it.backend_two_.address()}; },
     "done"},
    {"OtherVerifySet", [](SessionMatrix& it) { it.rule_ = verifies("spiffe://example.org/*"); },
     "done"},
    {"OtherIdOfTheEndpoint", [](SessionMatrix& it) { it.group_.labels["tls_id"] = kOrders; },
     "done"},
    {"OtherServerName", [](SessionMatrix& it) { it.rule_.sni = "orders.internal"; }, "done"},
    {"OtherProtocols", [](SessionMatrix& it) { it.rule_.alpn = {"h2"}; }, "done"},
    {"OtherVersions", [](SessionMatrix& it) { it.rule_.min_version = ktls::RecordVersion::kTls12; },
     "done"},
    {"MoreTrust", [](SessionMatrix& it) { it.bundle(test::TestAuthority("Other").cert_pem()); },
     "done"},
    {"NoCertificateOfOurs", [](SessionMatrix& it) { it.presents_ = Presents::kNothing; }, "done"},
    {"ARenewedCertificateOfOurs", [](SessionMatrix& it) { it.renew_ours(); }, "done"},
    {"ANewListThatDoesNotNameIt", [](SessionMatrix& it) { it.revoke({4711}); }, "done, resumed"},
    {"Revoked", [](SessionMatrix& it) { it.revoke({it.server_.serial}); }, "backend_revoked"},
    {"Expired", [](SessionMatrix& it) { it.later_ = std::chrono::hours(3); }, "backend_expired"},
    {"NoLongerVerified",
     [](SessionMatrix& it) { it.rule_ = verifies("spiffe://example.org/billing"); },
     "backend_not_verified"},
};

TEST_P(SessionMatrix, ResumesOnlyWhereNothingHasChanged) {
  serve_to({group_});
  serve_clients([this] {
    serve_one();
    on_loop([this] {
      GetParam().make(*this);
      serve_to({group_});
      ktls::testing::set_clock_offset(later_);
    });
    serve_one();
  });
  EXPECT_EQ(ends(), (std::vector<std::string>{"done", GetParam().end}));
}

TEST_P(SessionMatrix, GoesOnWhereTheChangeIsTakenBack) {
  if (GetParam().make == kChanges[0].make) return;
  serve_to({group_});
  const auto [group, rule, presents, files] = std::tuple(group_, rule_, presents_, pki_.files);
  serve_clients([&, this] {
    serve_one();
    on_loop([this] {
      GetParam().make(*this);
      serve_to({group_});
    });
    on_loop([&, this] {
      group_ = group;
      rule_ = rule;
      presents_ = presents;
      pki_.dir.write("ca.pem", pki_.authority.cert_pem());
      pki_.files = files;
      serve_to({group_});
    });
    serve_one();
  });
  EXPECT_EQ(ends(), (std::vector<std::string>{"done", "done, resumed"}));
}

INSTANTIATE_TEST_SUITE_P(Each, SessionMatrix, ::testing::ValuesIn(kChanges),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sallyport::gateway
