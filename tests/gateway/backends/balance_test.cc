#include "gateway/backends/balance.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

// Route "r" with endpoints 10.0.0.1:1, 10.0.0.2:1, ... of these weights; -1 = draining, -2 = down.
EndpointSet::Pointer set_of(const std::vector<int>& weights,
                            const EndpointSet* previous = nullptr) {
  std::string text = "[";
  for (std::size_t i = 0; i < weights.size(); ++i) {
    text += (i ? "," : "");
    text += "{\"targets\": [\"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) +
            ":1\"], \"labels\": {\"route\": \"r\", ";
    if (weights[i] == -1) {
      text += "\"state\": \"draining\"}}";
    } else if (weights[i] == -2) {
      text += "\"state\": \"down\"}}";
    } else {
      text += "\"weight\": \"" + std::to_string(weights[i]) + "\"}}";
    }
  }
  const auto discovery = parse_discovery(text + "]", "d.json");
  EXPECT_TRUE(discovery) << discovery.error().to_string();
  return EndpointSet::build(*discovery, {}, previous);
}

// How often each endpoint is picked in `picks` connections that end at once.
std::map<std::string, int> count(Balancer& balancer, Balance method, int picks) {
  std::map<std::string, int> counts;
  for (int i = 0; i < picks; ++i) {
    const auto pick = balancer.pick("r", method);
    if (pick) ++counts[pick->endpoint->target];
  }
  return counts;
}

using Counts = std::map<std::string, int>;
// hash-identity without an identity.
constexpr Balance kAll[] = {Balance::kRoundRobin, Balance::kLeastConnections, Balance::kPowerOfTwo,
                            Balance::kHashIdentity};

TEST(Balancer, HasNothingWithoutEndpoints) {
  Balancer balancer(1);
  for (const Balance method : kAll) EXPECT_FALSE(balancer.pick("r", method));
  balancer.update(set_of({}));
  for (const Balance method : kAll) EXPECT_FALSE(balancer.pick("r", method));
  balancer.update(set_of({-1, -2, 0}));
  for (const Balance method : kAll) EXPECT_FALSE(balancer.pick("r", method));
  balancer.update(set_of({1}));
  for (const Balance method : kAll) EXPECT_FALSE(balancer.pick("other", method));
}

TEST(Balancer, GivesNothingNewToDrainingDownAndWeightless) {
  for (const Balance method : kAll) {
    Balancer balancer(1);
    balancer.update(set_of({-1, 5, -2, 0}));
    EXPECT_EQ(count(balancer, method, 100), (Counts{{"10.0.0.2:1", 100}}));
    EXPECT_EQ(balancer.usable("r"), 1u);
  }
}

TEST(RoundRobin, VisitsEqualOnesInTurn) {
  Balancer balancer(7);
  balancer.update(set_of({100, 100, 100}));
  std::vector<std::string> order;
  for (int i = 0; i < 9; ++i) {
    order.push_back(balancer.pick("r", Balance::kRoundRobin)->endpoint->target);
  }
  for (std::size_t i = 3; i < order.size(); ++i) EXPECT_EQ(order[i], order[i - 3]);
  EXPECT_EQ((std::set<std::string>{order[0], order[1], order[2]}.size()), 3u);
}

TEST(RoundRobin, GivesEachExactlyItsWeight) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Balancer balancer(seed);
    balancer.update(set_of({5, 1, 1, 0, 13}));
    for (int round = 0; round < 50; ++round) {
      EXPECT_EQ(
          count(balancer, Balance::kRoundRobin, 20),
          (Counts{{"10.0.0.1:1", 5}, {"10.0.0.2:1", 1}, {"10.0.0.3:1", 1}, {"10.0.0.5:1", 13}}));
    }
  }
}

TEST(RoundRobin, IsExactWithTheLargestWeights) {
  Balancer balancer(3);
  balancer.update(set_of({65535, 1}));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(count(balancer, Balance::kRoundRobin, 65536)["10.0.0.2:1"], 1);
  }
}

TEST(RoundRobin, SpreadsTheHeavyOneSmoothly) {
  Balancer balancer(3);
  balancer.update(set_of({5, 1, 1}));
  int run = 0;
  for (int i = 0; i < 70; ++i) {
    const auto pick = balancer.pick("r", Balance::kRoundRobin);
    run = pick->endpoint->target == "10.0.0.1:1" ? run + 1 : 0;
    EXPECT_LE(run, 5);
  }
  Balancer two(3);
  two.update(set_of({2, 1}));
  std::string previous;
  int repeats = 0;
  for (int i = 0; i < 30; ++i) {
    const std::string target = two.pick("r", Balance::kRoundRobin)->endpoint->target;
    repeats += target == previous ? 1 : 0;
    previous = target;
  }
  EXPECT_LE(repeats, 10) << "two of three, never thrice in a row";
}

TEST(RoundRobin, GoesOnAcrossGenerations) {
  Balancer balancer(5);
  auto set = set_of({1, 1, 1, 1});
  balancer.update(set);
  Counts counts;
  for (int i = 0; i < 40; ++i) {
    set = set_of({1, 1, 1, 1}, set.get());
    balancer.update(set);
    ++counts[balancer.pick("r", Balance::kRoundRobin)->endpoint->target];
  }
  for (const auto& [target, picked] : counts) EXPECT_EQ(picked, 10) << target;
  EXPECT_EQ(counts.size(), 4u);
}

TEST(RoundRobin, GivesANewEndpointItsShareFromThenOn) {
  Balancer balancer(5);
  const auto first = set_of({1});
  balancer.update(first);
  count(balancer, Balance::kRoundRobin, 1000);
  const auto second = set_of({1, 1}, first.get());
  balancer.update(second);
  EXPECT_EQ(count(balancer, Balance::kRoundRobin, 10),
            (Counts{{"10.0.0.1:1", 5}, {"10.0.0.2:1", 5}}));
}

TEST(LeastConnections, FillsByWeight) {
  Balancer balancer(9);
  balancer.update(set_of({1, 2, 3}));
  std::vector<Pick> held;
  Counts counts;
  for (int i = 0; i < 600; ++i) {
    held.push_back(*balancer.pick("r", Balance::kLeastConnections));
    ++counts[held.back().endpoint->target];
  }
  EXPECT_EQ(counts, (Counts{{"10.0.0.1:1", 100}, {"10.0.0.2:1", 200}, {"10.0.0.3:1", 300}}));
}

TEST(LeastConnections, PicksWhereConnectionsEnded) {
  Balancer balancer(9);
  balancer.update(set_of({1, 1, 1}));
  std::vector<Pick> held;
  for (int i = 0; i < 9; ++i) held.push_back(*balancer.pick("r", Balance::kLeastConnections));
  const std::string target = held[4].endpoint->target;
  held[4].in_use.release();
  EXPECT_EQ(balancer.pick("r", Balance::kLeastConnections)->endpoint->target, target);
}

TEST(LeastConnections, PicksEqualOnesEquallyOften) {
  Balancer balancer(9);
  balancer.update(set_of({1, 1, 1, 1}));
  for (const auto& [target, picked] : count(balancer, Balance::kLeastConnections, 400)) {
    EXPECT_EQ(picked, 100) << target;
  }
}

TEST(PowerOfTwo, OfTwoTakesTheBetter) {
  Balancer balancer(11);
  balancer.update(set_of({1, 3}));
  std::vector<Pick> held;
  Counts counts;
  for (int i = 0; i < 400; ++i) {
    held.push_back(*balancer.pick("r", Balance::kPowerOfTwo));
    ++counts[held.back().endpoint->target];
  }
  EXPECT_EQ(counts, (Counts{{"10.0.0.1:1", 100}, {"10.0.0.2:1", 300}}));
}

TEST(PowerOfTwo, KeepsManyWithinAFewConnectionsOfEachOther) {
  Balancer balancer(11);
  balancer.update(set_of(std::vector<int>(50, 100)));
  std::vector<Pick> held;
  for (int i = 0; i < 5000; ++i) held.push_back(*balancer.pick("r", Balance::kPowerOfTwo));
  Counts counts;
  for (const Pick& pick : held) ++counts[pick.endpoint->target];
  EXPECT_EQ(counts.size(), 50u);
  for (const auto& [target, picked] : counts) EXPECT_NEAR(picked, 100, 5) << target;
}

TEST(PowerOfTwo, TheSameSeedGivesTheSamePicks) {
  const auto set = set_of(std::vector<int>(20, 100));
  const auto picks = [&](std::uint64_t seed) {
    Balancer balancer(seed);
    balancer.update(set);
    std::string order;
    for (int i = 0; i < 50; ++i)
      order += balancer.pick("r", Balance::kPowerOfTwo)->endpoint->target;
    return order;
  };
  EXPECT_EQ(picks(1), picks(1));
  EXPECT_NE(picks(1), picks(2));
}

TEST(Balancer, NeverPicksWhatWasTried) {
  for (const Balance method : kAll) {
    Balancer balancer(13);
    balancer.update(set_of(std::vector<int>(40, 100)));
    Tried tried;
    std::set<std::string> seen;
    for (int i = 0; i < 40; ++i) {
      const auto pick = balancer.pick("r", method, tried);
      ASSERT_TRUE(pick) << i;
      EXPECT_TRUE(seen.insert(pick->endpoint->target).second);
      tried.push_back(pick->endpoint->id);
    }
    EXPECT_FALSE(balancer.pick("r", method, tried));
    EXPECT_TRUE(balancer.pick("r", method)) << "the next connection starts afresh";
  }
}

TEST(Balancer, CountsAConnectionForAsLongAsItLives) {
  Balancer balancer(1);
  balancer.update(set_of({1}));
  auto pick = balancer.pick("r", Balance::kRoundRobin);
  const std::uint64_t id = pick->endpoint->id;
  EXPECT_EQ(balancer.in_use("r", id), 1u);
  InUse moved = std::move(pick->in_use);
  pick.reset();
  EXPECT_EQ(balancer.in_use("r", id), 1u);
  {
    const InUse last = std::move(moved);
    EXPECT_FALSE(moved);  // NOLINT(bugprone-use-after-move): moved from means released
    EXPECT_EQ(balancer.in_use("r", id), 1u);
  }
  EXPECT_EQ(balancer.in_use("r", id), 0u);
}

TEST(Balancer, CountsSurviveANewGeneration) {
  Balancer balancer(1);
  const auto first = set_of({1, 1});
  balancer.update(first);
  const auto one = balancer.pick("r", Balance::kLeastConnections);
  const auto two = balancer.pick("r", Balance::kLeastConnections);
  const auto three = balancer.pick("r", Balance::kLeastConnections);
  // Both drain, and come back.
  const auto second = set_of({-1, -1}, first.get());
  balancer.update(second);
  EXPECT_EQ(balancer.in_use("r", three->endpoint->id), 2u);
  EXPECT_FALSE(balancer.pick("r", Balance::kLeastConnections));
  const auto third = set_of({1, 1, 1}, second.get());
  balancer.update(third);
  EXPECT_EQ(balancer.in_use("r", three->endpoint->id), 2u);
  EXPECT_EQ(balancer.pick("r", Balance::kLeastConnections)->endpoint->target, "10.0.0.3:1");
}

TEST(Balancer, EndpointsAndRoutesMayGoBeforeTheirConnections) {
  Balancer balancer(1);
  const auto first = set_of({1, 1});
  balancer.update(first);
  auto one = balancer.pick("r", Balance::kLeastConnections);
  auto two = balancer.pick("r", Balance::kLeastConnections);
  const auto second = set_of({1}, first.get());
  balancer.update(second);
  const auto gone = EndpointSet::build(*parse_discovery("[]", "d"), {}, second.get());
  balancer.update(gone);
  EXPECT_FALSE(balancer.pick("r", Balance::kLeastConnections));
  EXPECT_FALSE(one->endpoint->target.empty()) << "a connection keeps its endpoint";
  one.reset();
  two.reset();
  balancer.update(gone);
  balancer.update(set_of({1}, gone.get()));
  EXPECT_TRUE(balancer.pick("r", Balance::kLeastConnections));
}

TEST(Balancer, ChangesItsMethodUnderWay) {
  Balancer balancer(1);
  balancer.update(set_of({1, 1, 1, 1}));
  std::vector<Pick> held;
  for (int i = 0; i < 120; ++i) held.push_back(*balancer.pick("r", kAll[i % 4]));
  for (std::size_t i = 0; i < held.size(); i += 2) held[i].in_use.release();
  for (int i = 0; i < 60; ++i) held.push_back(*balancer.pick("r", kAll[i % 4]));
  held.clear();
  for (const auto& [target, picked] : count(balancer, Balance::kLeastConnections, 40)) {
    EXPECT_EQ(picked, 10) << target;
  }
}

// Random picks, ends and generations against a plain count.
TEST(Balancer, AgreesWithAPlainCountWhateverHappens) {
  std::mt19937 random(17);
  for (const Balance method : kAll) {
    Balancer balancer(17);
    auto set = set_of(std::vector<int>(10, 1));
    balancer.update(set);
    std::vector<Pick> held;
    for (int step = 0; step < 2000; ++step) {
      const unsigned action = random() % 60;
      if (action == 0) {
        std::vector<int> weights(1 + random() % 15);
        for (int& weight : weights) weight = static_cast<int>(random() % 5) - 1;
        set = set_of(weights, set.get());
        balancer.update(set);
      } else if (action < 24 && !held.empty()) {
        std::swap(held[random() % held.size()], held.back());
        held.pop_back();
      } else if (auto pick = balancer.pick("r", method)) {
        held.push_back(std::move(*pick));
      }
      std::map<std::uint64_t, std::size_t> plain;
      for (const Pick& pick : held) ++plain[pick.endpoint->id];
      std::size_t usable = 0;
      const Endpoint* best = nullptr;
      for (const auto& endpoint : set->find("r")->endpoints) {
        // An endpoint that went and came back has a new id, and starts from none.
        ASSERT_EQ(balancer.in_use("r", endpoint->id), plain[endpoint->id]);
        if (!endpoint->takes_new_connections()) continue;
        ++usable;
        const auto load = [&](const Endpoint& e) {
          return static_cast<double>(plain[e.id] + 1) / e.weight();
        };
        if (!best || load(*endpoint) < load(*best)) best = endpoint.get();
      }
      ASSERT_EQ(balancer.usable("r"), usable);
      if (method == Balance::kLeastConnections && best) {
        const auto pick = balancer.pick("r", method);
        ASSERT_EQ((plain[pick->endpoint->id] + 1) * best->weight(),
                  (plain[best->id] + 1) * pick->endpoint->weight());
      }
    }
    held.clear();
  }
}

// The first endpoint of three fails.
class FailingEndpoint : public testing::TestWithParam<Balance> {
 protected:
  FailingEndpoint() { balancer_.update(set_); }

  std::string pick(const Tried& tried = {}) {
    const auto pick = balancer_.pick("r", GetParam(), tried, now_);
    return pick ? pick->endpoint->target : "none";
  }
  Counts counts(int picks) {
    Counts counts;
    for (int i = 0; i < picks; ++i) ++counts[pick()];
    return counts;
  }
  const Endpoint& endpoint(std::size_t index) const { return *set_->find("r")->endpoints[index]; }

  iouring::TimePoint now_{1h};
  EndpointSet::Pointer set_ = set_of({1, 1, 1});
  Balancer balancer_{1};
};

TEST_P(FailingEndpoint, IsPassedOver) {
  counts(30);
  endpoint(0).health->failed(now_, ECONNREFUSED);
  const Counts seen = counts(100);
  EXPECT_FALSE(seen.contains("10.0.0.1:1"));
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_EQ(balancer_.usable("r"), 3U);
}

TEST_P(FailingEndpoint, IsTriedAgainByOneConnection) {
  endpoint(0).health->failed(now_, ECONNREFUSED);
  counts(3);
  now_ += 1s;
  EXPECT_EQ(pick(), "10.0.0.1:1");
  EXPECT_FALSE(counts(100).contains("10.0.0.1:1"));
}

TEST_P(FailingEndpoint, IsNoTrialForAConnectionThatHasFailedElsewhere) {
  endpoint(0).health->failed(now_, ECONNREFUSED);
  counts(3);
  now_ += 1s;
  EXPECT_EQ(pick({endpoint(1).id}), "10.0.0.3:1");
}

TEST_P(FailingEndpoint, HasNoTurnsToCatchUpWithWhenItIsHealthyAgain) {
  endpoint(0).health->failed(now_, ECONNREFUSED);
  counts(3'000);
  endpoint(0).health->succeeded();
  const Counts seen = counts(300);
  EXPECT_GT(seen.at("10.0.0.1:1"), 60);
  EXPECT_LT(seen.at("10.0.0.1:1"), 140);
}

TEST_P(FailingEndpoint, IsPickedWhereAllFail) {
  for (std::size_t i = 0; i < 3; ++i) endpoint(i).health->failed(now_, ECONNREFUSED);
  const Counts seen = counts(30);
  EXPECT_EQ(seen, (Counts{{"10.0.0.1:1", 10}, {"10.0.0.2:1", 10}, {"10.0.0.3:1", 10}}));
  EXPECT_EQ(pick({endpoint(0).id, endpoint(1).id}), "10.0.0.3:1");
  EXPECT_EQ(pick({endpoint(0).id, endpoint(1).id, endpoint(2).id}), "none");
}

INSTANTIATE_TEST_SUITE_P(Each, FailingEndpoint, testing::ValuesIn(kAll),
                         [](const auto& each) { return std::to_string(each.index); });

// Or all connections that follow begin at the one that failed.
TEST(RoundRobin, ARetryTakesNoTurn) {
  Balancer balancer(1);
  const EndpointSet::Pointer set = set_of({1, 1});
  balancer.update(set);
  const auto first = balancer.pick("r", Balance::kRoundRobin);
  const auto retry = balancer.pick("r", Balance::kRoundRobin, {first->endpoint->id});
  EXPECT_NE(retry->endpoint->id, first->endpoint->id);
  EXPECT_EQ(balancer.pick("r", Balance::kRoundRobin)->endpoint->id, retry->endpoint->id);
}

// ---- standing: checks, ejection, slow start

constexpr iouring::TimePoint kNow{1h};
constexpr Ejection kEjection{.failures = 3, .time = 10s, .max_time = 5min};

PickRules refusing(Balance method) {
  PickRules rules(method);
  rules.when_none_healthy = WhenNoneHealthy::kRefuse;
  return rules;
}

std::string picked(Balancer& balancer, const PickRules& rules, iouring::TimePoint now = kNow,
                   const Tried& tried = {}) {
  const auto pick = balancer.pick("r", rules, tried, now);
  return pick ? pick->endpoint->target : "none";
}

void check_all(const EndpointSet& set, const std::vector<Checked>& checked) {
  const RouteEndpoints& route = *set.find("r");
  bool any_up = false;
  for (std::size_t i = 0; i < checked.size(); ++i) {
    route.endpoints[i]->life->set_checked(checked[i], kNow);
    any_up = any_up || checked[i] == Checked::kUp;
  }
  route.life->any_up = any_up;
}

TEST(Standing, DownOnesGetNothingWhileOthersAreUp) {
  for (const Balance method : kAll) {
    Balancer balancer(1);
    const auto set = set_of({1, 1, 1});
    balancer.update(set);
    check_all(*set, {Checked::kDown, Checked::kUp, Checked::kDown});
    for (int i = 0; i < 50; ++i) EXPECT_EQ(picked(balancer, method), "10.0.0.2:1");
    check_all(*set, {Checked::kUp, Checked::kDown, Checked::kDown});
    for (int i = 0; i < 50; ++i) EXPECT_EQ(picked(balancer, method), "10.0.0.1:1");
  }
}

TEST(Standing, UncheckedOnesWaitOnceAnotherIsUp) {
  for (const Balance method : kAll) {
    Balancer balancer(1);
    const auto set = set_of({1, 1});
    balancer.update(set);
    EXPECT_EQ(count(balancer, method, 200).size(), 2U) << "nothing is known: all are used";
    check_all(*set, {Checked::kUnknown, Checked::kUp});
    for (int i = 0; i < 50; ++i) EXPECT_EQ(picked(balancer, method), "10.0.0.2:1");
    check_all(*set, {Checked::kUnknown, Checked::kDown});
    for (int i = 0; i < 50; ++i) EXPECT_EQ(picked(balancer, method), "10.0.0.1:1");
    EXPECT_EQ(picked(balancer, refusing(method)), "10.0.0.1:1") << "unknown is not unhealthy";
  }
}

TEST(Standing, WhereNoneIsHealthyAllAreUsedOrNone) {
  for (const Balance method : kAll) {
    Balancer balancer(1);
    const auto set = set_of({1, 1});
    balancer.update(set);
    check_all(*set, {Checked::kDown, Checked::kDown});
    EXPECT_EQ(picked(balancer, refusing(method)), "none");
    EXPECT_NE(picked(balancer, method), "none");
    set->find("r")->endpoints[0]->life->set_checked(Checked::kUp, kNow);
    set->find("r")->endpoints[0]->life->eject(kEjection, kNow, 0);
    EXPECT_EQ(picked(balancer, refusing(method)), "none");
    EXPECT_EQ(picked(balancer, method), "10.0.0.1:1") << "ejected is better than down";
  }
}

TEST(Standing, AnEjectedOneComesBackByItself) {
  for (const Balance method : kAll) {
    Balancer balancer(1);
    const auto set = set_of({1, 1});
    balancer.update(set);
    set->find("r")->endpoints[0]->life->eject(kEjection, kNow, 0);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(picked(balancer, method), "10.0.0.2:1");
    Counts counts;
    for (int i = 0; i < 100; ++i) ++counts[picked(balancer, method, kNow + 10s)];
    EXPECT_EQ(counts.size(), 2U);
  }
}

// A failing address is for want of a better one; a connection that goes on takes the better first.
TEST(Standing, AFailingAddressIsBetterThanAnUncheckedOne) {
  Balancer balancer(1);
  const auto set = set_of({1, 1});
  balancer.update(set);
  check_all(*set, {Checked::kUnknown, Checked::kUp});
  const RouteEndpoints& route = *set->find("r");
  route.endpoints[1]->health->failed(kNow, ECONNREFUSED);
  EXPECT_EQ(picked(balancer, Balance::kRoundRobin), "10.0.0.2:1");
  EXPECT_EQ(picked(balancer, Balance::kRoundRobin, kNow, {route.endpoints[1]->id}), "10.0.0.1:1");
}

TEST(Standing, ManyThatAreDownAreLookedAtNowAndThen) {
  Balancer balancer(1);
  const auto set = set_of(std::vector<int>(1'000, 1));
  balancer.update(set);
  std::vector<Checked> checked(1'000, Checked::kDown);
  checked[0] = Checked::kUp;
  check_all(*set, checked);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(picked(balancer, Balance::kRoundRobin), "10.0.0.1:1");
  check_all(*set, std::vector<Checked>(1'000, Checked::kUp));
  Counts counts;
  for (int i = 0; i < 1'000; ++i) ++counts[picked(balancer, Balance::kRoundRobin, kNow + 10ms)];
  EXPECT_EQ(counts.size(), 1'000U);
}

TEST(SlowStart, GivesItsPartAndThenItsWhole) {
  for (const Balance method : {Balance::kRoundRobin, Balance::kLeastConnections}) {
    PickRules rules(method);
    rules.slow_start = 10s;
    Balancer balancer(1);
    const auto set = set_of({100, 100});
    balancer.update(set);
    check_all(*set, {Checked::kDown, Checked::kUp});
    EXPECT_EQ(picked(balancer, rules), "10.0.0.2:1");
    check_all(*set, {Checked::kUp, Checked::kUp});
    const auto part = [&](iouring::TimePoint now) {
      std::vector<Pick> held;
      Counts counts;
      for (int i = 0; i < 1'100; ++i) {
        held.push_back(*balancer.pick("r", rules, {}, now));
        ++counts[held.back().endpoint->target];
      }
      return counts["10.0.0.1:1"];
    };
    EXPECT_NEAR(part(kNow), 100, 3) << "a tenth of the weight beside a whole one";
    EXPECT_NEAR(part(kNow + 5s), 367, 5);
    EXPECT_NEAR(part(kNow + 10s), 550, 2);
    rules.slow_start = 0s;
  }
}

TEST(SlowStart, OfANewEndpointBesideOthers) {
  PickRules rules(Balance::kRoundRobin);
  rules.slow_start = 10s;
  Balancer balancer(1);
  const auto first = set_of({100});
  const auto discovery = parse_discovery(
      R"([{"targets": ["10.0.0.1:1", "10.0.0.2:1"], "labels": {"route": "r"}}])", "d");
  const auto second = EndpointSet::build(*discovery, {}, first.get(), kNow);
  balancer.update(first);
  EXPECT_EQ(picked(balancer, rules), "10.0.0.1:1");
  balancer.update(second);
  Counts counts;
  for (int i = 0; i < 110; ++i) ++counts[picked(balancer, rules)];
  EXPECT_NEAR(counts["10.0.0.2:1"], 10, 1);
}

}  // namespace
}  // namespace sallyport::gateway
