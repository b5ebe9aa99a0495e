// Warm connections of one shard, for picks instead of clients.
#include "gateway/connection/warm_pool.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "iouring/deadline.h"
#include "tests/gateway/connection/backend_tls_fixture.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using iouring::Task;

class WarmPoolTest : public BackendTlsTest {
 public:
  static constexpr std::size_t kMost = 6;

  WarmPoolTest() { plaintext_ = true; }

  // Another generation.
  void keep_at(const std::vector<std::string>& targets) {
    serve_to(std::vector{DiscoveryGroup{targets, {}}});
    pool_.update();
  }
  // That wait for a client.
  double ready() { return test::Metrics(registry_.scrape()).sum("warm_connections"); }
  // Of the first endpoint: those that wait or are being made.
  [[nodiscard]] std::uint64_t places() const {
    return state_.snapshot->endpoints->find("orders")->endpoints.at(0)->life->connections();
  }
  std::optional<Pick> pick() {
    return state_.balancer.pick("orders", PickRules(Balance::kRoundRobin), {}, shard_.ring->now());
  }

  Task<void> pass(std::chrono::milliseconds time) {
    const iouring::Result<> slept = co_await iouring::sleep_for(*shard_.ring, time);
    EXPECT_TRUE(slept);
  }
  Task<void> until(std::function<bool()> holds) {
    while (!holds()) co_await pass(1ms);
  }
  // A client that comes and goes; whether it got a connection that was ready.
  Task<bool> takes_one() {
    std::optional<Pick> picked = pick();
    if (!picked) co_return false;
    std::unique_ptr<ReadyConnection> ready;
    if (picked->warm) ready = co_await picked->warm->take();
    picked->in_use.release();
    co_return ready != nullptr;
  }

  void run(Task<void> script) { shard_.ring->run(beside(std::move(script))); }

  using BackendTlsTest::pki_;
  using BackendTlsTest::warm_;

 protected:
  Task<void> beside(Task<void> script) {
    iouring::TaskGroup chores(*shard_.ring);
    chores.spawn(pool_.run());
    co_await std::move(script);
    chores.cancel_all();
    co_await chores.join();
    co_await state_.backend_sessions.stop();
  }

  WarmPool pool_{state_, {.most = kMost}};
};

Task<void> keep_the_least(WarmPoolTest& test) {
  const test::Backend one(test::echo());
  const test::Backend other(test::echo());
  test.warm_ = WarmRule{.min = 2, .max = 4};
  test.keep_at({one.address(), other.address()});
  co_await test.until([&] { return test.ready() == 4; });
  co_await test.until([&] { return one.accepted() == 2 && other.accepted() == 2; });
  const bool got = co_await test.takes_one();
  EXPECT_TRUE(got);
  co_await test.until([&] { return test.ready() == 4; });
  co_await test.until([&] { return one.accepted() + other.accepted() == 5; });
}
TEST_F(WarmPoolTest, KeepsTheLeastReadyAtEachEndpoint) {
  run(keep_the_least(*this));
}

// Each of the twelve finds none and asks for one more.
Task<void> come_in_a_burst(WarmPoolTest& test) {
  const test::Backend backend(test::echo());
  test.warm_ = WarmRule{.min = 0, .max = 3, .max_idle = 300ms};
  test.keep_at({backend.address()});
  co_await test.pass(150ms);  // the pool has looked at it
  EXPECT_EQ(backend.accepted(), 0) << "nobody needs any";
  for (int i = 0; i < 12; ++i) {
    const std::optional<Pick> picked = test.pick();
    EXPECT_TRUE(picked && !picked->warm);
  }
  co_await test.until([&] { return backend.accepted() == 3; });
  co_await test.until([&] { return test.ready() == 0 && backend.open() == 0; });
  EXPECT_EQ(backend.accepted(), 3);
}
TEST_F(WarmPoolTest, IsNotMultipliedByABurstAndGivenBackBehindIt) {
  run(come_in_a_burst(*this));
}

Task<void> stay_within_the_part(WarmPoolTest& test) {
  const test::Backend backend(test::echo());
  test.warm_ = WarmRule{.min = 20, .max = 20};
  test.keep_at({backend.address()});
  co_await test.until([&] { return test.ready() == int{WarmPoolTest::kMost}; });
  co_await test.pass(250ms);  // the pool looks at it twice
  EXPECT_EQ(test.ready(), int{WarmPoolTest::kMost});
  EXPECT_LE(backend.accepted(), int{WarmPoolTest::kMost});
}
TEST_F(WarmPoolTest, HasNoMoreThanDescriptorsCarry) {
  run(stay_within_the_part(*this));
}

Task<void> grow_old(WarmPoolTest& test) {
  const test::Backend backend(test::echo());
  test.warm_ = WarmRule{.min = 1, .max = 2, .max_idle = 100ms};
  test.keep_at({backend.address()});
  co_await test.until([&] { return backend.accepted() >= 3; });
  co_await test.until([&] { return test.ready() == 1 && backend.open() == 1; });
  const bool got = co_await test.takes_one();
  EXPECT_TRUE(got);
}
TEST_F(WarmPoolTest, MakesThemAnewWhenTheyGrowOld) {
  run(grow_old(*this));
}

/// What an endpoint does with the first connection that nobody has used.
struct Spoils {
  const char* name;
  void (*act)(test::Fd& socket);
};
class WarmPoolSpoiled : public WarmPoolTest, public testing::WithParamInterface<Spoils> {};

Task<void> spoil_the_first(WarmPoolTest& test, void (*act)(test::Fd& socket)) {
  std::atomic<int> served = 0;
  const test::Backend backend([&](test::Fd& socket) {
    if (served++ == 0) return act(socket);
    test::echo()(socket);
  });
  test.warm_ = WarmRule{.min = 1, .max = 1};
  test.keep_at({backend.address()});
  co_await test.until([&] { return served == 1 && test.places() == 0; });
  const bool spoiled = co_await test.takes_one();
  EXPECT_FALSE(spoiled);
  co_await test.until([&] { return served == 2 && test.ready() == 1; });
  const bool got = co_await test.takes_one();
  EXPECT_TRUE(got);
}
TEST_P(WarmPoolSpoiled, IsGivenToNobodyAndMadeAnewLater) {
  run(spoil_the_first(*this, GetParam().act));
}
INSTANTIATE_TEST_SUITE_P(Each, WarmPoolSpoiled,
                         testing::Values(Spoils{"Fin", [](test::Fd&) {}},
                                         Spoils{"Bytes",
                                                [](test::Fd& socket) {
                                                  test::send_all(socket, "220 ready\r\n");
                                                  std::string rest;
                                                  test::receive(socket, rest, 1);
                                                }}),
                         [](const auto& info) { return std::string(info.param.name); });

/// With TLS.
class WarmPoolOverTls : public WarmPoolTest {
 public:
  WarmPoolOverTls() { plaintext_ = false; }
  double handshakes(const std::string& result) {
    return test::Metrics(registry_.scrape())
        .sum("backend_tls_handshakes_total", {{"result", result}});
  }
};

Task<void> take_verified(WarmPoolOverTls& test, const test::Backend& backend) {
  test.warm_ = WarmRule{.min = 1, .max = 1};
  test.keep_at({backend.address()});
  co_await test.until([&] { return test.ready() == 1; });
  std::optional<Pick> picked = test.pick();
  EXPECT_TRUE(picked && picked->warm);
  const auto ready = co_await picked->warm->take();
  EXPECT_TRUE(ready && ready->peer);
  if (ready && ready->peer) EXPECT_EQ(ready->peer->identity.display(), kOrders);
  picked->in_use.release();
}
// A ticket that comes in the moment in which its connection is taken would lose it that client.
TEST_F(WarmPoolOverTls, HandsOverWhoHasProvenItself) {
  const test::Backend backend(
      test::over_tls({.certificate = certificate(), .tickets = 0}, test::echo_over_tls));
  run(take_verified(*this, backend));
}

Task<void> be_revoked(WarmPoolOverTls& test, const test::Backend& backend, std::uint64_t serial) {
  test.warm_ = WarmRule{.min = 1, .max = 1};
  test.keep_at({backend.address()});
  co_await test.until([&] { return test.ready() == 1; });
  test.pki_.files.crls = {test.pki_.dir.write("crl.pem", test.pki_.authority.crl({serial}))};
  test.keep_at({backend.address()});
  EXPECT_EQ(test.ready(), 0) << "at once";
  co_await test.until([&] { return test.handshakes("backend_revoked") >= 1; });
  co_await test.until([&] { return backend.open() == 0; });
  EXPECT_EQ(test.ready(), 0);
}
TEST_F(WarmPoolOverTls, ClosesThoseThatAChangeOfTrustRevokes) {
  const test::TestCertificate server = certificate();
  const test::Backend backend(test::over_tls({.certificate = server}, test::echo_over_tls));
  run(be_revoked(*this, backend, server.serial));
}

Task<void> expire(WarmPoolOverTls& test, const test::Backend& backend, ShardState& state) {
  test.warm_ = WarmRule{.min = 1, .max = 1, .max_idle = 1h};
  test.keep_at({backend.address()});
  co_await test.until([&] { return test.ready() == 1; });
  state.now = [] { return wall_time() + 3h; };
  ktls::testing::set_clock_offset(3h);
  co_await test.until([&] { return test.handshakes("backend_expired") >= 1; });
  EXPECT_EQ(test.ready(), 0);
  co_await test.until([&] { return backend.open() == 0; });
}
TEST_F(WarmPoolOverTls, ClosesThoseWhoseChainExpires) {
  const test::Backend backend(echo({.spiffe = {kOrders}, .not_after = 2h}));
  run(expire(*this, backend, state_));
}

Task<void> lose_the_rule(WarmPoolTest& test) {
  const test::Backend backend(test::echo());
  test.warm_ = WarmRule{.min = 2, .max = 2};
  test.keep_at({backend.address()});
  co_await test.until([&] { return test.ready() == 2; });
  test.warm_.reset();
  test.keep_at({backend.address()});
  EXPECT_EQ(test.ready(), 0);
  co_await test.until([&] { return backend.open() == 0; });
  const bool got = co_await test.takes_one();
  EXPECT_FALSE(got);
}
TEST_F(WarmPoolTest, EndsWithItsRule) {
  run(lose_the_rule(*this));
}

}  // namespace
}  // namespace sallyport::gateway
