// Live connections whose backend is no longer what it was taken for: they end for that, and the
// others go on.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gateway/connection/live_connection.h"
#include "tests/gateway/connection/backend_tls_fixture.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;
using test::TlsEnd;

constexpr char kBilling[] = "spiffe://example.org/billing";

std::atomic<milliseconds> passed{};

WallTime passed_time() {
  return wall_time() + passed.load();
}

/// Two backends of one route, one of which the changes concern.
class BackendRecheckTest : public BackendTlsTest {
 public:
  void bundle(const std::string& certificates) {
    pki_.dir.write("ca.pem", certificates);
    pki_.files.ca = {{std::nullopt, (pki_.dir / "ca.pem").string()}};
  }
  void revoke_concerned() {
    pki_.dir.write("crl.pem", pki_.authority.crl() + other_authority_.crl({concerned_.serial}));
    pki_.files.crls = {(pki_.dir / "crl.pem").string()};
  }
  // Another generation is in force; on the loop.
  void publish() {
    serve_to({concerned_group_, other_group_});
    judge_all(state_);
  }

  using BackendTlsTest::pki_;
  using BackendTlsTest::rule_;
  test::TestAuthority other_authority_{"Other Root"};
  test::TestCertificate concerned_ =
      other_authority_.issue({.spiffe = {kOrders}, .not_after = std::chrono::hours(1)});
  Backend concerned_backend_{test::over_tls({.certificate = concerned_}, test::echo_over_tls)};
  Backend other_backend_{
      test::over_tls({.certificate = certificate({.spiffe = {kBilling}})}, test::echo_over_tls)};
  DiscoveryGroup concerned_group_{{concerned_backend_.address()}, {}};
  DiscoveryGroup other_group_{{other_backend_.address()}, {}};

 protected:
  BackendRecheckTest() {
    passed = milliseconds(0);
    ends_.end_spread = milliseconds(400);
    timeouts_.still = milliseconds(20);
    state_.now = passed_time;
  }
  void SetUp() override {
    BackendTlsTest::SetUp();
    bundle(pki_.authority.cert_pem() + other_authority_.cert_pem());
    rule_ = verifies("spiffe://example.org/*");
    serve_to({concerned_group_, other_group_});
  }

  // The two clients: the one whose backend is concerned, and the other.
  std::pair<TlsClient, TlsClient> connect_both() {
    TlsClient first = connect();
    EXPECT_TRUE(first.echo("hello"));
    TlsClient second = connect();
    EXPECT_TRUE(second.echo("hello"));
    bool first_is_concerned = false;
    on_loop([&] {
      LiveWalk walk(state_);
      first_is_concerned = walk.next()->facts().backend == concerned_backend_.address();
    });
    if (!first_is_concerned) std::swap(first, second);
    return {std::move(first), std::move(second)};
  }
  // Nothing has come for so long that everything is acknowledged, too: a quiet moment.
  static void wait_still(TlsClient& client) {
    constexpr unsigned kStillMs = 300;  // more than an acknowledgement is delayed
    test::wait_until("its connection is still", [&] {
      tcp_info info{};
      socklen_t size = sizeof info;
      EXPECT_EQ(::getsockopt(client.socket().get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
      return info.tcpi_last_data_recv >= kStillMs;
    });
  }
  std::size_t pending() {
    std::size_t count = 0;
    on_loop([&] { count = state_.recheck.ends.size(); });
    return count;
  }
};

struct Loss {
  const char* name;
  void (*bring_about)(BackendRecheckTest& it);
  const char* reason;
  TlsEnd end = TlsEnd::kTruncated;
};
void PrintTo(const Loss& loss, std::ostream* out) {
  *out << loss.name;
}
const Loss kLosses[] = {
    {"Revoked", [](BackendRecheckTest& it) { it.revoke_concerned(); }, "backend_revoked"},
    {"Untrusted", [](BackendRecheckTest& it) { it.bundle(it.pki_.authority.cert_pem()); },
     "backend_untrusted"},
    {"RefusedByTheRule", [](BackendRecheckTest& it) { it.rule_ = verifies(kBilling); },
     "backend_not_verified"},
    {"RefusedByItsLabel",
     [](BackendRecheckTest& it) { it.concerned_group_.labels["tls_id"] = kBilling; },
     "backend_not_verified"},
    {"RefusedByALabelThatTheRuleDoesNotHave",
     [](BackendRecheckTest& it) {
       it.concerned_group_.labels["tls_id"] = "spiffe://example.org/a/b";
     },
     "backend_not_verified"},
    {"Expired", [](BackendRecheckTest&) { passed = std::chrono::hours(2); }, "backend_expired",
     TlsEnd::kCloseNotify},
};

class EachLoss : public BackendRecheckTest, public ::testing::WithParamInterface<Loss> {};
INSTANTIATE_TEST_SUITE_P(Backend, EachLoss, ::testing::ValuesIn(kLosses),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(EachLoss, EndsTheConnectionThatItConcernsAndNoOther) {
  serve_and_recheck([this] {
    auto [concerned, other] = connect_both();
    if (GetParam().end == TlsEnd::kCloseNotify) wait_still(concerned);
    on_loop([this] {
      GetParam().bring_about(*this);
      publish();
    });
    concerned.receive_all();
    EXPECT_EQ(concerned.end(), GetParam().end);
    test::wait_until("it has ended", [this] { return log_.written == 1; });
    EXPECT_TRUE(other.echo("still here"));
    other.close_notify();
    other.receive_all();
  });
  ASSERT_EQ(log_.records.size(), 2U);
  EXPECT_EQ(to_string(log_.records[0].reason), GetParam().reason);
  EXPECT_EQ(log_.records[0].backend_identity, kOrders);
  EXPECT_EQ(to_string(log_.records[1].reason), "done");
}

// By its session, the server is who it was in the full handshake.
TEST_P(EachLoss, EndsAConnectionByAResumedSession) {
  serve_to({concerned_group_});
  serve_and_recheck([this] {
    TlsClient first = connect();
    EXPECT_TRUE(first.echo("hello"));
    TlsClient resumed = connect();
    EXPECT_TRUE(resumed.echo("hello"));
    on_loop([this] {
      GetParam().bring_about(*this);
      publish();
    });
    first.receive_all();
    resumed.receive_all();
  });
  ASSERT_EQ(log_.records.size(), 2U);
  int resumed = 0;
  for (const ConnectionFacts& each : log_.records) {
    EXPECT_EQ(to_string(each.reason), GetParam().reason);
    resumed += each.backend_resumed.value_or(false) ? 1 : 0;
  }
  EXPECT_EQ(resumed, 1);
}

TEST_P(EachLoss, IsNothingThatKeepsConnectionsByAFlag) {
  ends_.keep.set();
  serve_and_recheck([this] {
    auto [concerned, other] = connect_both();
    on_loop([this] {
      GetParam().bring_about(*this);
      publish();
    });
    concerned.receive_all();
    test::wait_until("it has ended", [this] { return log_.written == 1; });
    EXPECT_TRUE(other.echo("still here"));
  });
  EXPECT_EQ(to_string(log_.records.at(0).reason), GetParam().reason);
  EXPECT_EQ(log_.records[0].kept, "");
}

// Its handshake began under a generation that took the backend for the right one.
TEST_P(EachLoss, IsFoundBeforeTheFirstByteIsRelayed) {
  std::promise<void> go_on;
  const std::shared_future<void> goes_on = go_on.get_future().share();
  std::atomic<int> heard = 0;
  const Backend::Serve serve = test::over_tls({.certificate = concerned_}, [&heard](SSL* ssl) {
    char byte = 0;
    heard += SSL_read(ssl, &byte, 1) > 0 ? 1 : 0;
  });
  const Backend slow([&](test::Fd& socket) {
    goes_on.wait();
    serve(socket);
  });
  concerned_group_.targets = {slow.address()};
  serve_to({concerned_group_});
  serve_and_recheck([&, this] {
    TlsClient client = connect();
    client.send("hello");
    test::wait_until("the backend is dialled", [&] { return slow.accepted() == 1; });
    on_loop([this] {
      GetParam().bring_about(*this);
      serve_to({concerned_group_});
    });
    go_on.set_value();
    client.receive_all();
    EXPECT_EQ(client.alert(), 80);
  });
  EXPECT_EQ(to_string(log_.records.at(0).reason), GetParam().reason);
  EXPECT_EQ(heard, 0);
}

TEST_F(BackendRecheckTest, AChangeThatIsTakenBackEndsNothing) {
  ends_.end_spread = std::chrono::hours(1);
  serve_and_recheck([this] {
    auto [concerned, other] = connect_both();
    on_loop([this] {
      rule_ = verifies(kBilling);
      publish();
    });
    test::wait_until("an end is pending", [this] { return pending() == 1; });
    on_loop([this] {
      rule_ = verifies("spiffe://example.org/*");
      publish();
    });
    test::wait_until("it is not any more", [this] { return pending() == 0; });
    EXPECT_TRUE(concerned.echo("still here"));
    EXPECT_TRUE(other.echo("still here"));
  });
}

TEST_F(BackendRecheckTest, ALapsedOrMissingListEndsNothing) {
  serve_and_recheck([this] {
    auto [concerned, other] = connect_both();
    on_loop([this] {
      pki_.dir.write("crl.pem", pki_.authority.crl());  // none of the other authority
      pki_.files.crls = {(pki_.dir / "crl.pem").string()};
      publish();
    });
    EXPECT_TRUE(concerned.echo("still here"));
    on_loop([this] {
      pki_.dir.write("crl.pem",
                     pki_.authority.crl() + other_authority_.crl({}, std::chrono::hours(-1)));
      publish();
    });
    EXPECT_TRUE(concerned.echo("still here"));
    EXPECT_EQ(pending(), 0U);
  });
}

// The discovery file lacks it: it is judged by the labels that it had.
TEST_F(BackendRecheckTest, AnEndpointThatIsGoneIsJudgedAsWell) {
  serve_and_recheck([this] {
    auto [concerned, other] = connect_both();
    on_loop([this] {
      serve_to({other_group_});
      judge_all(state_);
    });
    EXPECT_TRUE(concerned.echo("still here"));
    EXPECT_EQ(pending(), 0U);
    on_loop([this] {
      revoke_concerned();
      serve_to({other_group_});
      judge_all(state_);
    });
    concerned.receive_all();
    test::wait_until("it has ended", [this] { return log_.written == 1; });
    EXPECT_TRUE(other.echo("still here"));
  });
  EXPECT_EQ(to_string(log_.records.at(0).reason), "backend_revoked");
}

TEST_F(BackendRecheckTest, AConnectionInPlaintextEndsWhereTheRouteIsToSpeakTls) {
  const Backend plain(test::echo());
  plaintext_ = true;
  serve_to(plain.address());
  serve_and_recheck([&, this] {
    TlsClient client = connect();
    EXPECT_TRUE(client.echo("hello"));
    on_loop([&, this] {
      plaintext_ = false;
      serve_to(plain.address());
      judge_all(state_);
    });
    client.receive_all();
    EXPECT_EQ(client.end(), TlsEnd::kTruncated);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"backend_not_verified"});
}

TEST_F(BackendRecheckTest, AConnectionByTlsGoesOnWhereTheRouteIsToSpeakPlaintext) {
  serve_and_recheck([this] {
    auto [concerned, other] = connect_both();
    on_loop([this] {
      plaintext_ = true;
      rule_ = verifies(kBilling);
      publish();
    });
    EXPECT_TRUE(concerned.echo("still here"));
    EXPECT_EQ(pending(), 0U);
  });
}

// Whichever chain expires first.
TEST_F(BackendRecheckTest, TheClientsChainMayExpireBeforeTheBackends) {
  serve_and_recheck([this] {
    const auto short_lived =
        pki_.authority.issue({.dns = {"known.test"}, .not_after = std::chrono::minutes(30)});
    TlsClient client = connect({.certificate = short_lived}, {});
    EXPECT_TRUE(client.echo("hello"));
    passed = std::chrono::minutes(45);
    client.receive_all();
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"expired"});
}

}  // namespace
}  // namespace sallyport::gateway
