// Live connections whose ground goes: they end for their cause, and the others go on.
#include "gateway/connection/recheck.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/gateway/connection/serve_fixture.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;
using test::TlsClient;
using test::TlsEnd;

std::atomic<milliseconds> clock_offset{};

WallTime moved_clock() {
  return wall_time() + clock_offset.load();
}

std::atomic<int> looks{};
WallTime counted_clock() {
  ++looks;
  return moved_clock();
}

/// An iteration of the loop in which the clock was looked at.
struct Look {
  std::uint64_t iteration;
  std::chrono::steady_clock::time_point at;
};
const iouring::Ring* ring_of_looks = nullptr;
std::vector<Look> looks_by_iteration;
WallTime noting_clock() {
  const std::uint64_t iteration = ring_of_looks->iterations();
  if (looks_by_iteration.empty() || looks_by_iteration.back().iteration != iteration)
    looks_by_iteration.push_back({iteration, std::chrono::steady_clock::now()});
  return moved_clock();
}

// Calls it at its first look, which uses up a turn.
std::function<void()> at_first_look;
WallTime slow_clock() {
  if (const auto act = std::exchange(at_first_look, nullptr)) {
    act();
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(150);
    while (std::chrono::steady_clock::now() < until) {
    }
  }
  return moved_clock();
}

/// What the concerned client is told, live and in a handshake that began before.
struct Expected {
  LiveCause cause;
  int alert;  ///< 0: close_notify, since it is idle
  const char* result;
  int alert_of_result;
};
constexpr Expected kExpected[] = {
    {LiveCause::kRevoked, SSL_AD_CERTIFICATE_REVOKED, "certificate_revoked",
     SSL_AD_CERTIFICATE_REVOKED},
    {LiveCause::kUntrusted, SSL_AD_UNKNOWN_CA, "certificate_authority_invalid", SSL_AD_UNKNOWN_CA},
    {LiveCause::kNotAuthorized, SSL_AD_ACCESS_DENIED, "not_authorized", SSL_AD_ACCESS_DENIED},
    {LiveCause::kExpired, 0, "certificate_expired", SSL_AD_CERTIFICATE_EXPIRED},
    {LiveCause::kRouteGone, 0, "no_route", SSL_AD_UNRECOGNIZED_NAME},
};
void PrintTo(const Expected& expected, std::ostream* out) {
  *out << to_string(expected.cause);
}

/// Two clients, each with an authority, a route, a rule and an expiry of its own.
class RecheckTest : public ServeTest {
 protected:
  RecheckTest() {
    clock_offset = milliseconds(0);
    ends_.end_spread = milliseconds(400);  // a quarter of it to find a quiet moment
    timeouts_.still = milliseconds(20);
    state_.now = moved_clock;
  }
  void SetUp() override {
    ServeTest::SetUp();
    pki_.dir.write("ca.pem", pki_.authority.cert_pem() + concerned_authority_.cert_pem());
    pki_.files.ca = {{std::nullopt, (pki_.dir / "ca.pem").string()}};
    Snapshot snapshot = *state_.snapshot;
    snapshot.credentials = pki_.load().value();
    snapshot.policy = policy({"orders", "concerned"});
    const std::string target = test::local_address(backend_).to_string();
    const std::string groups = R"([{"targets": [")" + target +
                               R"("], "labels": {"route": "orders"}}, {"targets": [")" + target +
                               R"("], "labels": {"route": "concerned"}}])";
    snapshot.endpoints = EndpointSet::build(*parse_discovery(groups, "groups"), {}, nullptr);
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
    state_.tls = only(pki_.context());
  }

  // Each route lets in the client of its name.
  static Policy::Pointer policy(const std::vector<std::string>& names,
                                const std::string& concerned = "concerned") {
    std::vector<Route> routes;
    for (const std::string& name : names) {
      Route& made = routes.emplace_back(route(name));
      const std::string who = name == "concerned" ? concerned : name;
      made.allow = {*IdentityPattern::parse("dns:" + who + ".test")};
    }
    return *Policy::build(std::move(routes));
  }

  void change(const std::function<void(Snapshot&)>& make) {
    on_loop([&] {
      Snapshot next = *state_.snapshot;
      make(next);
      serve_with(std::move(next));
      judge_all(state_);
    });
  }
  void load_credentials() {
    change([this](Snapshot& next) { next.credentials = pki_.load().value(); });
  }
  void set_policy(const Policy::Pointer& next_policy) {
    change([&](Snapshot& next) { next.policy = next_policy; });
  }

  std::size_t count_established() {
    std::size_t count = 0;
    on_loop([&] {
      LiveWalk walk(state_);
      while (const LiveConnection* const connection = walk.next())
        if (connection->is_established()) ++count;
    });
    return count;
  }

  // Makes `listener` one whose queue is full, so that Linux drops further SYNs.
  static test::Fd fill(const test::Fd& listener) {
    const iouring::SocketAddress any = *iouring::SocketAddress::parse("127.0.0.1:0");
    EXPECT_EQ(::bind(listener.get(), any.data(), any.size()), 0);
    EXPECT_EQ(::listen(listener.get(), 0), 0);
    test::Fd filling(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto to = *iouring::SocketAddress::parse(test::local_address(listener).to_string());
    EXPECT_EQ(::connect(filling.get(), to.data(), to.size()), 0);
    return filling;
  }
  void point_concerned_to(const std::string& target) {
    timeouts_.connect = std::chrono::hours(1);
    Snapshot snapshot = *state_.snapshot;
    const std::string groups =
        R"([{"targets": [")" + target + R"("], "labels": {"route": "concerned"}}])";
    snapshot.endpoints = EndpointSet::build(*parse_discovery(groups, "groups"), {}, nullptr);
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
  }

  void bring_about(LiveCause cause) {
    switch (cause) {
      case LiveCause::kRevoked:
        pki_.dir.write("crl.pem",
                       concerned_authority_.crl({concerned_.serial}) + pki_.authority.crl());
        pki_.files.crls = {(pki_.dir / "crl.pem").string()};
        return load_credentials();
      case LiveCause::kUntrusted:
        pki_.dir.write("ca.pem", pki_.authority.cert_pem());
        return load_credentials();
      case LiveCause::kNotAuthorized:
        return set_policy(policy({"orders", "concerned"}, "another"));
      case LiveCause::kExpired:
        clock_offset = std::chrono::hours(2);
        return;  // the clock is looked at by itself
      case LiveCause::kRouteGone:
        return set_policy(policy({"orders"}));
      default:
        break;  // none of the client
    }
  }

  struct Served {
    TlsClient client;
    test::Fd backend;

    // A request and its answer.
    bool works() {
      std::string request(4, ' ');
      return client.send("ping") && ::recv(backend.get(), request.data(), 4, MSG_WAITALL) == 4 &&
             ::send(backend.get(), "pong", 4, MSG_NOSIGNAL) == 4 && client.receive(4) == "pong";
    }
  };
  test::ClientOptions concerned_client() const {
    return {.certificate = concerned_, .sni = "concerned.test"};
  }
  Served serve_one(test::ClientOptions options) {
    TlsClient client(listener_->address().to_string(), std::move(options));
    test::Fd backend = accept_backend();
    Served served{std::move(client), std::move(backend)};
    EXPECT_TRUE(served.works());
    return served;
  }
  Served serve_concerned() { return serve_one(concerned_client()); }
  Served serve_other() {
    return serve_one(
        {.certificate = pki_.authority.issue({.dns = {"orders.test"}}), .sni = "orders.test"});
  }

  static void expect_told(TlsClient& client, int alert) {
    client.receive_all();
    EXPECT_EQ(client.end(), alert == 0 ? TlsEnd::kCloseNotify : TlsEnd::kAlert);
    EXPECT_EQ(client.alert(), alert);
  }
  // Of a chain that is over: at once, so with close_notify only where it was still by chance.
  static void expect_ended_at_once(TlsClient& client) {
    client.receive_all();
    EXPECT_TRUE(client.end() == TlsEnd::kCloseNotify || client.end() == TlsEnd::kTruncated);
  }
  std::vector<std::string> reasons_in_order() const {
    std::vector<std::string> reasons;
    for (const ConnectionFacts& each : log_.records) reasons.emplace_back(to_string(each.reason));
    return reasons;
  }
  // What is kept, of the connections that live.
  std::vector<std::string> kept() {
    std::vector<std::string> causes;
    on_loop([&] {
      LiveWalk walk(state_);
      while (const LiveConnection* const connection = walk.next())
        if (const auto cause = connection->kept()) causes.emplace_back(to_string(*cause));
    });
    return causes;
  }

  test::TestAuthority concerned_authority_{"Concerned Root"};
  test::TestCertificate concerned_ =
      concerned_authority_.issue({.dns = {"concerned.test"}, .not_after = std::chrono::hours(1)});
};

class EachCause : public RecheckTest, public ::testing::WithParamInterface<Expected> {};

std::string name_of_cause(const ::testing::TestParamInfo<Expected>& info) {
  return std::string(to_string(info.param.cause));
}
INSTANTIATE_TEST_SUITE_P(Recheck, EachCause, ::testing::ValuesIn(kExpected), name_of_cause);

TEST_P(EachCause, EndsTheConnectionThatItConcernsAndNoOther) {
  serve_and_recheck([this] {
    Served other = serve_other();
    Served concerned = serve_concerned();
    bring_about(GetParam().cause);
    expect_told(concerned.client, GetParam().alert);
    test::wait_until("it has ended", [this] { return log_.written == 1; });
    EXPECT_TRUE(other.works());
  });
  ASSERT_EQ(log_.records.size(), 2U);
  EXPECT_EQ(to_string(log_.records[0].reason), to_string(GetParam().cause));
  EXPECT_EQ(log_.records[0].identity, "dns:concerned.test");
  EXPECT_EQ(log_.records[1].identity, "dns:orders.test");
}

TEST_P(EachCause, EndsAResumedConnection) {
  serve_and_recheck([this] {
    Served first = serve_concerned();
    test::ClientOptions options = concerned_client();
    options.session = first.client.session();
    Served resumed = serve_one(std::move(options));
    EXPECT_TRUE(resumed.client.resumed());
    bring_about(GetParam().cause);
    expect_told(resumed.client, GetParam().alert);
    expect_told(first.client, GetParam().alert);
  });
  const std::string word(to_string(GetParam().cause));
  EXPECT_EQ(reasons(), (std::set<std::string>{word, word + " (resumed)"}));
}

TEST_P(EachCause, IsJudgedAtTheEndOfAHandshakeThatBeganBefore) {
  serve_and_recheck([this] {
    test::ClientOptions options = concerned_client();
    options.handshake_flights = 1;
    TlsClient slow(listener_->address().to_string(), std::move(options));
    test::wait_until("its ClientHello is routed", [this] {
      bool routed = false;
      on_loop([&] {
        LiveWalk walk(state_);
        const LiveConnection* const connection = walk.next();
        routed = connection != nullptr && !connection->facts().route.empty();
      });
      return routed;
    });
    bring_about(GetParam().cause);
    slow.finish_handshake();
    expect_told(slow, GetParam().alert_of_result);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{GetParam().result});
}

TEST_P(EachCause, EndsAConnectionWhoseBackendIsBeingDialled) {
  const test::Fd full(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const test::Fd filling = fill(full);
  point_concerned_to(test::local_address(full).to_string());
  serve_and_recheck([this] {
    TlsClient client(listener_->address().to_string(), concerned_client());
    test::wait_until("it is let in", [this] { return count_established() == 1; });
    bring_about(GetParam().cause);
    expect_told(client, GetParam().alert);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{std::string(to_string(GetParam().cause))});
}

TEST_P(EachCause, EndsAConnectionWhoseClientHasEndedItsSide) {
  serve_and_recheck([this] {
    Served concerned = serve_concerned();
    concerned.client.close_notify();
    char end = 0;
    EXPECT_EQ(::recv(concerned.backend.get(), &end, 1, 0), 0);
    bring_about(GetParam().cause);
    concerned.client.receive_all();
    EXPECT_EQ(concerned.client.end(), GetParam().alert == 0 ? TlsEnd::kTruncated : TlsEnd::kAlert);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{std::string(to_string(GetParam().cause))});
}

TEST_P(EachCause, EndsAConnectionInTheMiddleOfAResponse) {
  serve_and_recheck([this] {
    Served concerned = serve_concerned();
    std::atomic<bool> over = false;
    std::thread responding([&] {
      const std::string some(100'000, 'x');
      while (::send(concerned.backend.get(), some.data(), some.size(), MSG_NOSIGNAL) > 0) {
      }
      over = true;
    });
    const std::string first = concerned.client.receive(1'000'000);
    bring_about(GetParam().cause);
    const std::string rest = concerned.client.receive_all();
    EXPECT_EQ((first + rest).find_first_not_of('x'), std::string::npos);
    EXPECT_EQ(concerned.client.end(), GetParam().alert == 0 ? TlsEnd::kTruncated : TlsEnd::kAlert);
    responding.join();
    EXPECT_TRUE(over);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{std::string(to_string(GetParam().cause))});
}

TEST_P(EachCause, IsKeptWhereItIsToBeKept) {
  ends_.keep.set(static_cast<std::size_t>(GetParam().cause));
  serve_and_recheck([this] {
    Served concerned = serve_concerned();
    bring_about(GetParam().cause);
    test::wait_until("it is kept", [this] { return !kept().empty(); });
    EXPECT_EQ(kept(), std::vector<std::string>{std::string(to_string(GetParam().cause))});
    EXPECT_TRUE(concerned.works());
  });
  EXPECT_NE(to_string(log_.records.front().reason), to_string(GetParam().cause));
  EXPECT_EQ(log_.records.front().kept, to_string(GetParam().cause));
}

TEST_P(EachCause, DoesNotHideAnotherOneThatIsKept) {
  const LiveCause kept =
      GetParam().cause == LiveCause::kRouteGone ? LiveCause::kExpired : LiveCause::kRouteGone;
  ends_.keep.set(static_cast<std::size_t>(kept));
  if (GetParam().cause == LiveCause::kNotAuthorized) return;  // a route that is gone has no rules
  serve_and_recheck([this, kept] {
    Served concerned = serve_concerned();
    bring_about(kept);
    test::wait_until("it is kept", [this] { return !this->kept().empty(); });
    bring_about(GetParam().cause);
    expect_told(concerned.client, GetParam().alert);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{std::string(to_string(GetParam().cause))});
}

TEST_F(RecheckTest, AChangeThatIsTakenBackEndsNothing) {
  ends_.end_spread = std::chrono::hours(1);
  serve_and_recheck([this] {
    Served concerned = serve_concerned();
    const auto pending = [this](std::size_t count) {
      test::wait_until("so many ends are pending", [this, count] {
        bool holds = false;
        on_loop([&] { holds = state_.recheck.ends.size() == count; });
        return holds;
      });
    };
    bring_about(LiveCause::kNotAuthorized);
    pending(1);
    set_policy(policy({"orders", "concerned"}));
    pending(0);
    bring_about(LiveCause::kRouteGone);
    pending(1);
    set_policy(policy({"orders", "concerned"}));
    pending(0);
    EXPECT_TRUE(concerned.works());
  });
}

TEST_F(RecheckTest, AClockThatIsSetBackEndsNothing) {
  serve_and_recheck([this] {
    Served concerned = serve_concerned();
    clock_offset = -std::chrono::hours(24);
    change([](Snapshot&) {});
    EXPECT_TRUE(concerned.works());
    clock_offset = milliseconds(0);
    change([](Snapshot&) {});
    EXPECT_TRUE(concerned.works());
    clock_offset = std::chrono::hours(24);
    expect_ended_at_once(concerned.client);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"expired"});
}

TEST_F(RecheckTest, AChangeGivesNoConnectionMoreTimeThanItsChainHas) {
  ends_.end_spread = std::chrono::hours(24 * 365);
  serve_and_recheck([this] {
    Served concerned = serve_concerned();
    bring_about(LiveCause::kRouteGone);
    test::wait_until("its end is pending", [this] {
      bool holds = false;
      on_loop([&] { holds = state_.recheck.ends.size() == 1; });
      return holds;
    });
    on_loop([this] {
      const auto next = state_.recheck.ends.next();
      ASSERT_TRUE(next);
      EXPECT_LE(*next - shard_.ring->now(), std::chrono::hours(1)) << "when its chain expires";
    });
    bring_about(LiveCause::kExpired);
    expect_ended_at_once(concerned.client);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"expired"});
}

// RFC 5280 4.1.2.5: no end is meant. In nanoseconds it would be past what 64 bits hold.
TEST_F(RecheckTest, AChainWithoutAnEndIsLeftAloneUntilTheLastSecond) {
  const std::chrono::sys_seconds no_end = std::chrono::sys_days(std::chrono::year(9999) / 12 / 31) +
                                          std::chrono::hours(24) - std::chrono::seconds(1);
  const auto left = no_end - std::chrono::floor<std::chrono::seconds>(wall_time());
  const test::TestAuthority authority("Root without an end", test::KeyType::kEcdsaP256, left);
  concerned_ = authority.issue({.dns = {"concerned.test"}, .not_after = left});
  pki_.dir.write("ca.pem", pki_.authority.cert_pem() + authority.cert_pem());
  state_.now = counted_clock;
  Snapshot snapshot = *state_.snapshot;
  snapshot.credentials = pki_.load().value();
  serve_with(std::move(snapshot));
  state_.tls = only(pki_.context());
  serve_and_recheck([&] {
    Served concerned = serve_concerned();
    // It looks at the clock once a second, whatever is far ahead.
    const int before = looks;
    test::wait_until("it has looked again", [&] { return looks > before + 4; });
    const auto begun = std::chrono::steady_clock::now();
    const int busy = looks;
    test::wait_until("some time has passed", [&] {
      return std::chrono::steady_clock::now() - begun > std::chrono::milliseconds(1500);
    });
    EXPECT_LT(looks - busy, 100);

    clock_offset = left - std::chrono::hours(1000 * 24);
    change([](Snapshot&) {});
    EXPECT_TRUE(concerned.works());
    clock_offset = left + std::chrono::seconds(1);
    expect_ended_at_once(concerned.client);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"expired"});
}

TEST_F(RecheckTest, ALapsedOrMissingCrlEndsNothing) {
  serve_and_recheck([this] {
    Served concerned = serve_concerned();
    pki_.dir.write("crl.pem", pki_.authority.crl());
    pki_.files.crls = {(pki_.dir / "crl.pem").string()};
    load_credentials();
    EXPECT_TRUE(concerned.works());
    pki_.dir.write("crl.pem",
                   concerned_authority_.crl({}, std::chrono::hours(-1)) + pki_.authority.crl());
    load_credentials();
    EXPECT_TRUE(concerned.works());
  });
  EXPECT_FALSE(reasons().contains("revoked"));
}

// In no bundle, so that the new list's signature can be checked by what the client has sent only.
TEST_F(RecheckTest, AListOfAnIssuerThatOnlyClientsSendRevokesAtOnce) {
  const test::TestAuthority issuing = concerned_authority_.intermediate("Issuing");
  concerned_ = issuing.issue({.dns = {"concerned.test"}});
  const auto with_lists = [&](const std::vector<std::uint64_t>& revoked) {
    pki_.dir.write("crl.pem",
                   pki_.authority.crl() + concerned_authority_.crl() + issuing.crl(revoked));
    pki_.files.crls = {(pki_.dir / "crl.pem").string()};
  };
  with_lists({});
  state_.tls = only(pki_.context());
  Snapshot snapshot = *state_.snapshot;
  snapshot.credentials = pki_.load().value();
  snapshot.credentials->share_issuers(state_.tls->front()->credentials());
  serve_with(std::move(snapshot));
  serve_and_recheck([&] {
    Served concerned = serve_concerned();
    with_lists({concerned_.serial});
    change([this](Snapshot& next) {
      const auto loaded = pki_.load().value();
      loaded->share_issuers(state_.tls->front()->credentials());
      next.credentials = loaded;
    });
    expect_told(concerned.client, SSL_AD_CERTIFICATE_REVOKED);
  });
  EXPECT_EQ(reasons(), std::set<std::string>{"revoked"});
}

// Each end is judged once more when it is begun, by a look at the clock. On a machine so busy that
// they are late by a tenth of a second they may follow sooner.
TEST_F(RecheckTest, EndsThatAreDueTogetherAreBegunOneAtATime) {
  constexpr std::size_t kEnds = 4;
  serve_and_recheck([&] {
    std::vector<Served> served;
    while (served.size() < kEnds) served.push_back(serve_concerned());
    std::chrono::steady_clock::time_point due;
    on_loop([&] {
      Snapshot next = *state_.snapshot;
      next.policy = policy({"orders", "concerned"}, "another");
      serve_with(std::move(next));
      due = shard_.ring->now();
      LiveWalk walk(state_);
      while (LiveConnection* const connection = walk.next()) {
        state_.recheck.ends.set(
            *connection,
            {.cause = LiveCause::kNotAuthorized, .asks_at = due, .ends_at = due, .asked = true});
      }
      ring_of_looks = shard_.ring.get();
      looks_by_iteration.clear();
      state_.now = noting_clock;
      state_.recheck.sleeping->cancel();
    });
    for (Served& each : served) expect_told(each.client, SSL_AD_ACCESS_DENIED);
    on_loop([&] {
      state_.now = moved_clock;
      ASSERT_FALSE(looks_by_iteration.empty());
      ASSERT_GE(looks_by_iteration.size(), kEnds);
      if (looks_by_iteration.back().at - due > milliseconds(100)) return;
      for (std::size_t i = 1; i < looks_by_iteration.size(); ++i) {
        EXPECT_GE(looks_by_iteration[i].at - looks_by_iteration[i - 1].at,
                  std::chrono::microseconds(400));
      }
    });
  });
  EXPECT_EQ(log_.written, int{kEnds});
}

// What the walk would come to next ends while it waits for its next turn: under AddressSanitizer
// this fails where the walk keeps a connection meanwhile.
TEST_F(RecheckTest, ConnectionsMayEndBetweenTwoTurns) {
  constexpr std::size_t kSilent = 8;  // they end at once when they close
  serve_and_recheck([this] {
    Served first = serve_concerned();
    std::vector<test::Fd> silent;
    for (std::size_t i = 0; i < kSilent; ++i)
      silent.push_back(test::connect_to(listener_->address().to_string()));
    test::wait_until("all are accepted", [this] {
      std::size_t live = 0;
      on_loop([&] {
        LiveWalk walk(state_);
        while (walk.next() != nullptr) ++live;
      });
      return live == kSilent + 1;
    });
    on_loop([&] {
      at_first_look = [&] { silent.clear(); };
      state_.now = slow_clock;
    });
    change([](Snapshot&) {});
    test::wait_until("one is left", [this] { return log_.written == int{kSilent}; });
    EXPECT_TRUE(first.works());
  });
}

TEST_F(RecheckTest, ADialGoesOnUnderThePolicyThatItBeganWith) {
  const test::Fd full(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  test::Fd filling = fill(full);
  point_concerned_to(test::local_address(full).to_string());
  serve_and_recheck([&] {
    TlsClient client(listener_->address().to_string(), concerned_client());
    test::wait_until("it is let in", [this] { return count_established() == 1; });
    set_policy(policy({"orders", "concerned"}));
    // Room for it: Linux repeats the SYN within a second.
    const test::Fd taken(::accept4(full.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Served served{std::move(client), test::Fd(::accept4(full.get(), nullptr, nullptr, 0))};
    EXPECT_TRUE(served.works());
  });
}

TEST_F(RecheckTest, AGrantMovesOnToThePolicyThatIsInForce) {
  std::weak_ptr<const Policy> first = state_.snapshot->policy;
  serve_and_recheck([this, &first] {
    Served concerned = serve_concerned();
    set_policy(policy({"orders", "concerned"}));
    test::wait_until("no connection holds the policy before", [&] { return first.expired(); });
    EXPECT_TRUE(concerned.works());
  });
}

}  // namespace
}  // namespace sallyport::gateway
