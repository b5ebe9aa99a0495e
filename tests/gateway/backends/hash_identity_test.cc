// "balance": "hash-identity": an identity has its endpoint, on every gateway the same.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gateway/backends/balance.h"
#include "gateway/backends/rendezvous.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr iouring::TimePoint kHashedAt{1h};

struct Weighted {
  std::string target;
  int weight = 100;  // -1: draining
};
using Targets = std::vector<Weighted>;

EndpointSet::Pointer set_with(const Targets& targets, const EndpointSet* previous = nullptr,
                              const Resolutions& resolutions = {},
                              iouring::TimePoint now = kHashedAt) {
  std::string text = "[";
  for (const auto& [target, weight] : targets) {
    text += text.size() > 1 ? "," : "";
    text += R"({"targets": [")" + target + R"("], "labels": {"route": "r", )";
    text += weight < 0 ? R"("state": "draining"}})"
                       : R"("weight": ")" + std::to_string(weight) + R"("}})";
  }
  const auto discovery = parse_discovery(text + "]", "d.json");
  EXPECT_TRUE(discovery) << discovery.error().to_string();
  return EndpointSet::build(*discovery, resolutions, previous, now);
}

Targets equal_ones(int count) {
  Targets targets;
  for (int i = 0; i < count; ++i) targets.push_back({"10.0.0." + std::to_string(i + 1) + ":80"});
  return targets;
}

PickRules rules_for(const std::string& identity) {
  PickRules rules(Balance::kHashIdentity);
  rules.identity = rendezvous_hash(identity);
  return rules;
}

std::string identity(int number) {
  return "spiffe://example.org/ns/shop/sa/client-" + std::to_string(number);
}

std::string place_for(Balancer& balancer, const PickRules& rules, const Tried& tried = {},
                      iouring::TimePoint now = kHashedAt) {
  const auto pick = balancer.pick("r", rules, tried, now);
  return pick ? pick->endpoint->target : "none";
}

using Places = std::vector<std::string>;  // by the number of the identity
constexpr int kHashed = 20'000;

Places places(Balancer& balancer, iouring::TimePoint now = kHashedAt) {
  Places all;
  for (int i = 0; i < kHashed; ++i)
    all.push_back(place_for(balancer, rules_for(identity(i)), {}, now));
  return all;
}
Places places(const EndpointSet::Pointer& set) {
  Balancer balancer(1);
  balancer.update(set);
  return places(balancer);
}

std::map<std::string, int> counts_of(const Places& all) {
  std::map<std::string, int> counts;
  for (const std::string& place : all) ++counts[place];
  return counts;
}

// What another program makes of the manual's formula.
TEST(HashIdentity, IsTheSameInEveryProgram) {
  Targets targets{{"10.0.0.1:80", 100},
                  {"10.0.0.2:80", 100},
                  {"unix:/run/x.sock", 200},
                  {"[2001:db8::7]:80", 100}};
  EXPECT_EQ(rendezvous_hash("10.0.0.1:80"), 0xe0f2af3b3dabfb17U);
  EXPECT_EQ(mix(1), 0x5692161d100b05e5U);
  EXPECT_EQ(rendezvous_draw(0xe0f2af3b3dabfb17U, rendezvous_hash(identity(0))),
            rendezvous_draw(rendezvous_hash(identity(0)), 0xe0f2af3b3dabfb17U));
  const std::pair<const char*, const char*> known[] = {
      {"spiffe://example.org/ns/shop/sa/web", "[2001:db8::7]:80"},
      {"spiffe://example.org/ns/shop/sa/batch", "unix:/run/x.sock"},
      {"spiffe://example.org/a", "10.0.0.2:80"},
      {"dns:b.example.org", "unix:/run/x.sock"}};
  for (const bool turned_round : {false, true}) {
    if (turned_round) std::ranges::reverse(targets);
    Balancer balancer(turned_round ? 5 : 6);
    balancer.update(set_with(targets));
    for (const auto& [name, place] : known) EXPECT_EQ(place_for(balancer, rules_for(name)), place);
  }
}

TEST(HashIdentity, DependsNeitherOnOrderNorOnHistory) {
  Targets targets = equal_ones(10);
  const Places expected = places(set_with(targets));
  std::ranges::rotate(targets, targets.begin() + 3);
  EXPECT_EQ(places(set_with(targets)), expected);
  const auto before = set_with(equal_ones(4));
  Balancer balancer(9);
  balancer.update(before);
  places(balancer);
  balancer.update(set_with(targets, before.get()));
  EXPECT_EQ(places(balancer), expected);
}

// Of fixed inputs, so that it holds or does not: the bounds are those that one of a thousand honest
// draws is beyond.
TEST(HashIdentity, GivesEachEndpointItsPartOfTheWeights) {
  const Targets targets{
      {"10.0.0.1:80", 1}, {"10.0.0.2:80", 2}, {"10.0.0.3:80", 3}, {"10.0.0.4:80", 4}};
  double chi_square = 0;
  auto found = counts_of(places(set_with(targets)));
  for (const auto& [target, weight] : targets) {
    const double expected = kHashed * weight / 10.0;
    const double off = found[target] - expected;
    chi_square += off * off / expected;
  }
  EXPECT_LT(chi_square, 16.27) << "three degrees of freedom";
  chi_square = 0;
  for (const auto& [target, count] : counts_of(places(set_with(equal_ones(10))))) {
    const double expected = kHashed / 10.0;
    chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_square, 27.88) << "nine degrees of freedom";
}

TEST(HashIdentity, OneThatGoesOrComesMovesItsOwnIdentitiesAlone) {
  Targets targets = equal_ones(10);
  const Places all = places(set_with(targets));
  const std::string gone = targets[4].target;
  targets.erase(targets.begin() + 4);
  const Places without = places(set_with(targets));
  int moved = 0;
  for (int i = 0; i < kHashed; ++i) {
    if (all[i] != gone) ASSERT_EQ(without[i], all[i]);
    moved += all[i] == gone ? 1 : 0;
  }
  EXPECT_NEAR(moved, kHashed / 10.0, kHashed / 100.0);
  for (const auto& [target, count] : counts_of(without))
    EXPECT_NEAR(count, kHashed / 9.0, kHashed / 100.0) << "those that moved went to all";
}

TEST(HashIdentity, AnotherWeightMovesToOrFromThatEndpointAlone) {
  Targets targets = equal_ones(10);
  const Places before = places(set_with(targets));
  targets[0].weight = 200;
  const Places after = places(set_with(targets));
  int moved = 0;
  for (int i = 0; i < kHashed; ++i) {
    if (before[i] == after[i]) continue;
    ASSERT_EQ(after[i], targets[0].target);
    ++moved;
  }
  EXPECT_NEAR(moved, kHashed * (2.0 / 11 - 1.0 / 10), kHashed / 100.0);
}

TEST(HashIdentity, GoesToTheNextBestWhereOneWasTried) {
  const auto set = set_with(equal_ones(10));
  Balancer balancer(1);
  balancer.update(set);
  for (int i = 0; i < 50; ++i) {
    Targets left = equal_ones(10);
    Tried tried;
    for (int attempt = 0; attempt < 10; ++attempt) {
      Balancer of_those_left(1);
      of_those_left.update(set_with(left));
      const auto pick = balancer.pick("r", rules_for(identity(i)), tried, kHashedAt);
      ASSERT_TRUE(pick);
      EXPECT_EQ(pick->endpoint->target, place_for(of_those_left, rules_for(identity(i))));
      tried.push_back(pick->endpoint->id);
      std::erase_if(left,
                    [&](const Weighted& each) { return each.target == pick->endpoint->target; });
    }
    EXPECT_EQ(place_for(balancer, rules_for(identity(i)), tried), "none");
  }
}

TEST(HashIdentity, PassesOverWhatTakesNoNewConnections) {
  const Targets targets{{"10.0.0.1:80", -1}, {"10.0.0.2:80", 0}, {"10.0.0.3:80"}};
  EXPECT_EQ(counts_of(places(set_with(targets))),
            (std::map<std::string, int>{{"10.0.0.3:80", kHashed}}));
}

// What one of a few endpoints has, as long as all are good.
class OneOfThree : public testing::Test {
 protected:
  OneOfThree() {
    balancer_.update(set_);
    for (int i = 0; own_ == nullptr; ++i) {
      mine_ = rules_for(identity(i));
      const auto pick = balancer_.pick("r", mine_, {}, now_);
      if (pick->endpoint->target == "10.0.0.1:80") own_ = pick->endpoint.get();
    }
    for (int i = 0; place_for(balancer_, others_ = rules_for(identity(i))) == own_->target; ++i) {
    }
  }
  std::string pick(const PickRules& rules) { return place_for(balancer_, rules, {}, now_); }

  iouring::TimePoint now_ = kHashedAt;
  EndpointSet::Pointer set_ = set_with(equal_ones(3));
  Balancer balancer_{1};
  PickRules mine_{Balance::kHashIdentity}, others_{Balance::kHashIdentity};
  const Endpoint* own_ = nullptr;
};

TEST_F(OneOfThree, IsLeftWhileItIsEjectedOrDownAndTakenAgainAfterwards) {
  own_->life->eject({.failures = 3, .time = 10s, .max_time = 1min}, now_, 0);
  const std::string second = pick(mine_);
  EXPECT_NE(second, own_->target);
  EXPECT_EQ(pick(mine_), second) << "and as faithfully";
  now_ += 10s;
  EXPECT_EQ(pick(mine_), own_->target);
  own_->life->set_checked(Checked::kDown, now_);
  EXPECT_EQ(pick(mine_), second);
  own_->life->set_checked(Checked::kUp, now_);
  EXPECT_EQ(pick(mine_), own_->target);
}

TEST_F(OneOfThree, IsTriedAgainByAnIdentityThatHasIt) {
  own_->health->failed(now_, ECONNREFUSED);
  EXPECT_NE(pick(mine_), own_->target);
  now_ += 1s;
  for (int i = 0; i < 10; ++i) EXPECT_NE(pick(others_), own_->target);
  EXPECT_EQ(pick(mine_), own_->target);
  EXPECT_NE(pick(mine_), own_->target) << "by a single connection";
}

TEST_F(OneOfThree, IsTakenAllTheSameWhereNoneIsGood) {
  for (const auto& endpoint : set_->find("r")->endpoints)
    endpoint->life->set_checked(Checked::kDown, now_);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pick(mine_), own_->target);
  EXPECT_NE(pick(others_), own_->target);
  mine_.when_none_healthy = WhenNoneHealthy::kRefuse;
  EXPECT_EQ(pick(mine_), "none");
}

TEST_F(OneOfThree, IsLeftWhileItIsFull) {
  mine_.most_per_endpoint = 1;
  auto held = balancer_.pick("r", mine_, {}, now_);
  ASSERT_EQ(held->endpoint.get(), own_);
  const auto second = balancer_.pick("r", mine_, {}, now_);
  EXPECT_NE(second->endpoint.get(), own_);
  held.reset();
  EXPECT_EQ(pick(mine_), own_->target);
}

TEST_F(OneOfThree, IsSharedInTurnByWhatHasNoIdentity) {
  std::map<std::string, int> seen;
  for (int i = 0; i < 30; ++i) {
    ++seen[pick(Balance::kHashIdentity)];
    pick(mine_);  // takes no turn
    pick(others_);
  }
  EXPECT_EQ(seen, (std::map<std::string, int>{
                      {"10.0.0.1:80", 10}, {"10.0.0.2:80", 10}, {"10.0.0.3:80", 10}}));
}

TEST(HashIdentity, GivesASlowStarterMoreAndMoreOfItsIdentities) {
  const auto first = set_with(equal_ones(4));
  const auto second = set_with(equal_ones(5), first.get());
  const std::string fresh = "10.0.0.5:80";
  Balancer balancer(1);
  balancer.update(first);
  const Places before = places(balancer);
  balancer.update(second);
  std::set<int> has;
  for (const auto& [since, part] : {std::pair(0s, 0.1), {5s, 0.5}, {10s, 1.0}}) {
    std::set<int> now;
    for (int i = 0; i < kHashed; ++i) {
      PickRules rules = rules_for(identity(i));
      rules.slow_start = 10s;
      const std::string place = place_for(balancer, rules, {}, kHashedAt + since);
      if (place == fresh) {
        now.insert(i);
      } else {
        ASSERT_EQ(place, before[i]);
      }
    }
    EXPECT_NEAR(static_cast<double>(now.size()), kHashed * part / (4 + part), kHashed / 100.0);
    EXPECT_TRUE(std::ranges::includes(now, has)) << "who is there stays";
    has = std::move(now);
  }
}

TEST(HashIdentity, OfANameEachAddressHasAPartAndOneAloneHasItAll) {
  const auto at = [](std::initializer_list<const char*> addresses) {
    Resolution resolution;
    for (const char* address : addresses)
      resolution.addresses.push_back(*iouring::SocketAddress::parse(address));
    return Resolutions{{"billing.internal", resolution}};
  };
  const auto part_of_name = [](const EndpointSet::Pointer& set) {
    std::map<std::string, int> parts;
    Balancer balancer(1);
    balancer.update(set);
    for (int i = 0; i < kHashed; ++i) {
      const auto pick = balancer.pick("r", rules_for(identity(i)), {}, kHashedAt);
      ++parts[pick->endpoint->address.to_string()];
    }
    return parts;
  };
  const Targets targets{{"billing.internal:80"}, {"10.0.0.9:80"}};
  const auto one = set_with(targets, nullptr, at({"10.0.0.1:0"}));
  const auto moved = set_with(targets, one.get(), at({"10.0.0.2:0"}));
  const auto two = set_with(targets, moved.get(), at({"10.0.0.2:0", "10.0.0.3:0"}));
  const auto again = set_with(targets, two.get(), at({"10.0.0.1:0"}));
  EXPECT_EQ(part_of_name(one)["10.0.0.9:80"], part_of_name(moved)["10.0.0.9:80"]);
  EXPECT_EQ(part_of_name(one), part_of_name(again));
  for (const auto& [address, count] : part_of_name(two))
    EXPECT_NEAR(count, kHashed / 3.0, kHashed / 100.0) << address;
}

}  // namespace
}  // namespace sallyport::gateway
