#include "gateway/backends/warm_stock.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backends/balance.h"
#include "gateway/backends/dial.h"
#include "iouring/deadline.h"
#include "tests/ktls/records/layer_fixture.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using iouring::Task;
using Ready = std::unique_ptr<ReadyConnection>;

constexpr auto kLong = 1h;

EndpointSet::Pointer endpoints_at(const std::string& targets) {
  return EndpointSet::build(
      *parse_discovery(R"([{"labels": {"route": "r"}, "targets": [)" + targets + "]}]", "d"), {},
      nullptr);
}

// A stock with its keeper, for scripts that run on its shard.
struct WarmStockTest : testing::Test, WarmKeeper {
  WarmStockTest() {
    auto its_route = std::make_shared<Route>();
    its_route->name = "r";
    its_route->warm = WarmRule{.min = 1, .max = 3};
    route = std::move(its_route);
    balancer.update(set);
    stock = stock_of(0);
  }

  std::shared_ptr<WarmStock> stock_of(std::size_t place) {
    WarmKeeper& keeper = *this;
    return std::make_shared<WarmStock>(
        WarmStock::Settings{.route = route, .endpoint = endpoint(place), .min = 1, .max = 3},
        keeper, *shard.ring, tasks, cells);
  }
  const std::shared_ptr<const Endpoint>& endpoint(std::size_t place = 0) const {
    return set->find("r")->endpoints.at(place);
  }
  void fill(WarmStock& /*stock*/) override { ++asked; }
  bool holds(const WarmStock& /*stock*/, const ReadyConnection& /*ready*/) const override {
    return all_hold;
  }

  // One that waits, and its backend's end.
  iouring::Socket add(std::chrono::milliseconds time = kLong) {
    auto [ours, theirs] = iouring::tcp_pair(*shard.ring);
    auto ready = std::make_unique<ReadyConnection>();
    ready->place = EndpointPlace::enter(endpoint()->life, 0);
    ready->records = ktls::plain_records(std::move(ours), shard.pools());
    stock->add(std::move(ready), time);
    return std::move(theirs);
  }
  std::uint64_t places() const { return endpoint()->life->connections(); }

  Task<void> to_end(Task<void> script) {
    co_await std::move(script);
    stock->retire();
    co_await tasks.join();
  }
  void run(Task<void> script) { shard.ring->run(to_end(std::move(script))); }

  ktls::testing::Shard shard;
  iouring::TaskGroup tasks{*shard.ring};
  metrics::RouteCells cells{"r", 1};
  std::shared_ptr<const Route> route;
  EndpointSet::Pointer set = endpoints_at(R"("127.0.0.1:1", "127.0.0.1:2")");
  Balancer balancer{1};
  std::shared_ptr<WarmStock> stock;
  bool all_hold = true;
  int asked = 0;
};

std::string peer_of(const iouring::Socket& socket) {
  return socket.peer_address()->to_string();
}

// Its watch is at its receive by then.
Task<void> settle(WarmStockTest& test) {
  iouring::Result<> slept = co_await iouring::sleep_for(*test.shard.ring, 1ms);
  EXPECT_TRUE(slept);
}
Task<void> until_none_is_ready(WarmStockTest& test) {
  while (test.stock->any_ready()) co_await settle(test);
}
Task<bool> gets_end(iouring::Socket& backend) {
  const std::string heard = co_await iouring::recv_all(backend);
  co_return heard.empty();
}

Task<void> take_the_youngest(WarmStockTest& test) {
  const iouring::Socket first = test.add();
  const iouring::Socket second = test.add();
  co_await settle(test);
  std::optional<WarmClaim> claim = test.stock->claim();
  EXPECT_EQ(test.stock->ready(), 1U);
  const Ready ready = co_await claim->take();
  EXPECT_TRUE(ready);
  if (ready) EXPECT_EQ(ready->records->socket().local_address()->to_string(), peer_of(second));
  EXPECT_EQ(test.asked, 1) << "for a successor";
  test.endpoint()->life->leave();
}
TEST_F(WarmStockTest, HandsOverTheYoungest) {
  run(take_the_youngest(*this));
  EXPECT_EQ(places(), 0U);
}

Task<void> take_at_once(WarmStockTest& test) {
  const iouring::Socket backend = test.add();
  std::optional<WarmClaim> claim = test.stock->claim();
  const Ready ready = co_await claim->take();
  EXPECT_TRUE(ready);
  test.endpoint()->life->leave();
}
TEST_F(WarmStockTest, HandsOverOneWhoseWatchHasNotBegun) {
  run(take_at_once(*this));
}

enum class Coming { kFin, kReset, kBytes };
Task<void> come(Coming what, iouring::Socket& backend) {
  if (what == Coming::kReset) backend.reset();
  if (what == Coming::kFin) co_await backend.shutdown_write();
  if (what == Coming::kBytes) co_await backend.send_all(iouring::as_bytes("220 ready"));
}

class WarmEnd : public WarmStockTest, public testing::WithParamInterface<Coming> {};

Task<void> leave_when_something_comes(WarmStockTest& test, Coming what) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  EXPECT_EQ(test.places(), 1U);
  co_await come(what, backend);
  co_await until_none_is_ready(test);
  co_await settle(test);
  EXPECT_EQ(test.places(), 0U);
  EXPECT_EQ(test.asked, 1);
  EXPECT_FALSE(test.stock->claim());
}
TEST_P(WarmEnd, LeavesTheStockAtOnce) {
  run(leave_when_something_comes(*this, GetParam()));
}

// On the loopback it is there when the call returns.
Task<void> find_what_comes_late(WarmStockTest& test, Coming what) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  std::optional<WarmClaim> claim = test.stock->claim();
  co_await come(what, backend);
  const Ready ready = co_await claim->take();
  EXPECT_FALSE(ready);
  test.endpoint()->life->leave();
}
TEST_P(WarmEnd, IsFoundByTheLastLook) {
  run(find_what_comes_late(*this, GetParam()));
  EXPECT_EQ(places(), 0U);
}
INSTANTIATE_TEST_SUITE_P(Each, WarmEnd,
                         testing::Values(Coming::kFin, Coming::kReset, Coming::kBytes));

Task<void> take_what_does_not_hold(WarmStockTest& test) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  std::optional<WarmClaim> claim = test.stock->claim();
  test.all_hold = false;
  const Ready ready = co_await claim->take();
  EXPECT_FALSE(ready);
  const bool ended = co_await gets_end(backend);
  EXPECT_TRUE(ended);
  test.endpoint()->life->leave();
}
TEST_F(WarmStockTest, HandsOverNothingThatDoesNotHold) {
  run(take_what_does_not_hold(*this));
}

Task<void> judge_all_that_wait(WarmStockTest& test) {
  iouring::Socket one = test.add();
  iouring::Socket other = test.add();
  co_await settle(test);
  test.stock->judge();
  EXPECT_EQ(test.stock->ready(), 2U);
  test.all_hold = false;
  test.stock->judge();
  EXPECT_EQ(test.stock->ready(), 0U);
  const bool ended = co_await gets_end(one);
  const bool other_ended = co_await gets_end(other);
  EXPECT_TRUE(ended && other_ended);
  EXPECT_EQ(test.places(), 0U);
}
TEST_F(WarmStockTest, ClosesThoseThatDoNotHoldAnyMore) {
  run(judge_all_that_wait(*this));
}

Task<void> drop_a_claim(WarmStockTest& test) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  std::optional<WarmClaim> claim = test.stock->claim();
  claim.reset();
  const bool ended = co_await gets_end(backend);
  EXPECT_TRUE(ended);
  EXPECT_EQ(test.places(), 1U) << "the place was the claim's";
  test.endpoint()->life->leave();
}
TEST_F(WarmStockTest, ClosesWhatWasClaimedAndNotTaken) {
  run(drop_a_claim(*this));
}

Task<void> retire_what_is_claimed(WarmStockTest& test) {
  iouring::Socket waiting = test.add();
  const iouring::Socket claimed = test.add();
  co_await settle(test);
  std::optional<WarmClaim> claim = test.stock->claim();
  test.stock->retire();
  const Ready ready = co_await claim->take();
  EXPECT_FALSE(ready);
  const bool ended = co_await gets_end(waiting);
  EXPECT_TRUE(ended);
  EXPECT_FALSE(test.stock->wants_more());
  test.endpoint()->life->leave();
}
TEST_F(WarmStockTest, EndsWithItsRoute) {
  run(retire_what_is_claimed(*this));
  EXPECT_EQ(places(), 0U);
}

Task<void> wait_too_long(WarmStockTest& test) {
  EXPECT_FALSE(test.stock->claim());
  EXPECT_FALSE(test.stock->claim());
  iouring::Socket one = test.add(20ms);
  iouring::Socket other = test.add(20ms);
  EXPECT_TRUE(test.stock->wants_more()) << "two clients found none";
  co_await until_none_is_ready(test);
  const bool ended = co_await gets_end(one);
  const bool other_ended = co_await gets_end(other);
  EXPECT_TRUE(ended && other_ended);
  const iouring::Socket successor = test.add();
  EXPECT_FALSE(test.stock->wants_more()) << "nobody needed the others";
}
TEST_F(WarmStockTest, GivesBackWhatNobodyNeeds) {
  run(wait_too_long(*this));
}

Task<void> give_up_the_oldest(WarmStockTest& test) {
  iouring::Socket first = test.add();
  const iouring::Socket second = test.add();
  co_await settle(test);
  test.stock->give_up(1);
  const bool ended = co_await gets_end(first);
  EXPECT_TRUE(ended);
  EXPECT_EQ(test.stock->ready(), 1U);
  EXPECT_EQ(test.places(), 1U);
}
TEST_F(WarmStockTest, GivesUpTheOldest) {
  run(give_up_the_oldest(*this));
}

// ---- picks

Task<void> fill_an_endpoint(WarmStockTest& test) {
  PickRules rules(Balance::kRoundRobin);
  rules.most_per_endpoint = 1;
  test.balancer.set_warm("r", test.stock);
  const iouring::Socket backend = test.add();
  co_await settle(test);
  const std::optional<Pick> other = test.balancer.pick("r", rules, {test.endpoint()->id});
  std::optional<Pick> first = test.balancer.pick("r", rules);
  EXPECT_TRUE(other && !other->warm);
  EXPECT_TRUE(first && first->warm) << "full for those who have none ready";
  EXPECT_FALSE(test.balancer.pick("r", rules));
  EXPECT_TRUE(test.balancer.any_full("r", rules));
  const Ready ready = co_await first->warm->take();
  EXPECT_TRUE(ready);
  EXPECT_EQ(test.places(), 1U);
  first->in_use.release();
  EXPECT_EQ(test.places(), 0U);
}
TEST_F(WarmStockTest, HasAPlaceAtItsEndpointThatBecomesTheClients) {
  run(fill_an_endpoint(*this));
}

Task<void> pick_by_load(WarmStockTest& test) {
  test.balancer.set_warm("r", test.stock);
  const iouring::Socket one = test.add();
  const iouring::Socket other = test.add();
  EXPECT_EQ(test.balancer.in_use("r", test.endpoint()->id), 0U);
  const PickRules rules(Balance::kLeastConnections);
  const std::optional<Pick> first = test.balancer.pick("r", rules);
  const std::optional<Pick> second = test.balancer.pick("r", rules);
  EXPECT_TRUE(first && second);
  if (first && second) EXPECT_NE(first->endpoint->id, second->endpoint->id);
  co_return;
}
TEST_F(WarmStockTest, IsNoLoad) {
  run(pick_by_load(*this));
}

Task<void> pick_what_fails(WarmStockTest& test) {
  test.balancer.set_warm("r", test.stock);
  const iouring::Socket backend = test.add();
  test.endpoint(0)->life->set_checked(Checked::kDown, test.shard.ring->now());
  test.endpoint(1)->life->set_checked(Checked::kDown, test.shard.ring->now());
  const PickRules rules(Balance::kRoundRobin);
  for (int i = 0; i < 4; ++i) {
    const std::optional<Pick> pick = test.balancer.pick("r", rules);
    EXPECT_TRUE(pick && !pick->warm);
  }
  co_return;
}
TEST_F(WarmStockTest, IsNotUsedOfAnEndpointThatIsDown) {
  run(pick_what_fails(*this));
}

// ---- dialling

// Listens for what is dialled anew.
struct WarmDial : WarmStockTest {
  WarmDial() {
    set = endpoints_at('"' + listener->address().to_string() + '"');
    EXPECT_TRUE(listener->listen());
    balancer.update(set);
    stock = stock_of(0);
    balancer.set_warm("r", stock);
  }
  Task<std::expected<Dialed, DialFailure>> dial_now(Opening opening = nullptr) {
    return dial(*shard.ring, balancer, *route, 60s, std::move(opening));
  }
  std::unique_ptr<iouring::Listener> listener =
      iouring::Listener::bind(*shard.ring, *iouring::SocketAddress::parse("127.0.0.1:0")).value();
};

Task<void> dial_warm(WarmDial& test) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  auto dialed = co_await test.dial_now();
  EXPECT_TRUE(dialed && dialed->ready && !dialed->socket);
  EXPECT_EQ(dialed->endpoint, test.endpoint());
  EXPECT_EQ(test.balancer.in_use("r", test.endpoint()->id), 1U);
  EXPECT_EQ(test.places(), 1U);
  dialed->in_use.release();
}
TEST_F(WarmDial, TakesWhatIsReady) {
  run(dial_warm(*this));
  EXPECT_EQ(places(), 0U);
}

Task<void> dial_behind_an_end(WarmDial& test) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  test.all_hold = false;  // found out when it is taken
  auto dialed = co_await test.dial_now();
  EXPECT_TRUE(dialed && !dialed->ready && dialed->socket);
  EXPECT_EQ(dialed->attempts, 1U) << "no endpoint has failed";
  EXPECT_EQ(test.places(), 1U);
  EXPECT_EQ(test.endpoint()->life->failures_in_row(), 0U);
  dialed->in_use.release();
}
TEST_F(WarmDial, ConnectsToTheEndpointWhereThatIsNoneAnyMore) {
  run(dial_behind_an_end(*this));
  EXPECT_EQ(places(), 0U);
}

using Opened = std::expected<OpenedTls, OpeningFailure>;
Task<Opened> say_header(iouring::Socket& backend, int error) {
  if (error != 0) co_return std::unexpected(OpeningFailure{.sys_errno = error});
  co_await backend.send_all(iouring::as_bytes("PROXY"));
  co_return OpenedTls{};
}

Task<void> dial_with_header(WarmDial& test) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  auto dialed = co_await test.dial_now(
      [](iouring::Socket& socket, const Endpoint&, OpeningWait&) { return say_header(socket, 0); });
  EXPECT_TRUE(dialed && dialed->ready);
  const std::string heard = co_await iouring::recv_exactly(backend, 5);
  EXPECT_EQ(heard, "PROXY");
  dialed->in_use.release();
}
TEST_F(WarmDial, OpensAPlainOneLikeANewOne) {
  run(dial_with_header(*this));
}

Task<void> dial_with_failing_opening(WarmDial& test) {
  iouring::Socket backend = test.add();
  co_await settle(test);
  int calls = 0;
  auto dialed = co_await test.dial_now([&](iouring::Socket& socket, const Endpoint&, OpeningWait&) {
    return say_header(socket, calls++ == 0 ? ECONNRESET : 0);
  });
  EXPECT_TRUE(dialed && !dialed->ready && dialed->socket);
  EXPECT_EQ(calls, 2);
  dialed->in_use.release();
}
TEST_F(WarmDial, ConnectsWhereTheOpeningFails) {
  run(dial_with_failing_opening(*this));
}

Task<void> dial_by_other_rules(WarmDial& test) {
  const iouring::Socket backend = test.add();
  co_await settle(test);
  const Route later = *test.route;
  auto dialed = co_await dial(*test.shard.ring, test.balancer, later, 60s);
  EXPECT_TRUE(dialed && !dialed->ready);
  dialed->in_use.release();
}
TEST_F(WarmDial, TakesNoneThatAnotherGenerationsRulesMade) {
  run(dial_by_other_rules(*this));
}

}  // namespace
}  // namespace sallyport::gateway
