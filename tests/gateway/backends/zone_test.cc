// "prefer-zone": endpoints of our zone come first, and the others take what it cannot carry.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gateway/backends/balance.h"
#include "gateway/backends/rendezvous.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr Balance kZoneMethods[] = {Balance::kRoundRobin, Balance::kLeastConnections,
                                    Balance::kPowerOfTwo, Balance::kHashIdentity};
constexpr int kZonePicks = 7'000;

// 10.0.0.N are in our zone, 10.1.0.N in another one; states and weights are labels.
EndpointSet::Pointer zones_of(int ours, int others, const EndpointSet* previous = nullptr,
                              const std::string& labels_of_first = "") {
  std::string text = "[";
  const auto add = [&](const std::string& target, const std::string& zone,
                       const std::string& labels) {
    text += text.size() > 1 ? "," : "";
    text += R"({"targets": [")" + target + R"(:80"], "labels": {"route": "r", "zone": ")" + zone +
            "\"" + labels + "}}";
  };
  for (int i = 1; i <= ours; ++i)
    add("10.0.0." + std::to_string(i), "a", i == 1 ? labels_of_first : "");
  for (int i = 1; i <= others; ++i) add("10.1.0." + std::to_string(i), i % 2 == 0 ? "b" : "", "");
  const auto discovery = parse_discovery(text + "]", "d.json");
  EXPECT_TRUE(discovery) << discovery.error().to_string();
  return EndpointSet::build(*discovery, {}, previous);
}

using Counts = std::map<std::string, int>;

class PreferredZone : public testing::TestWithParam<Balance> {
 protected:
  PreferredZone() {
    balancer_.prefer("a");
    rules_.prefer_zone = true;
  }
  void use(EndpointSet::Pointer set) {
    set_ = std::move(set);
    balancer_.update(set_);
  }
  const Endpoint& endpoint(const std::string& target) const {
    const auto& all = set_->find("r")->endpoints;
    return **std::ranges::find(all, target + ":80", [](const auto& each) { return each->target; });
  }
  // The first so many of our zone.
  void set_down(int count, Checked checked = Checked::kDown) {
    for (int i = 1; i <= count; ++i)
      endpoint("10.0.0." + std::to_string(i)).life->set_checked(checked, now_);
    now_ += 10ms;
  }
  std::string pick(const Tried& tried = {}) {
    rules_.identity = rendezvous_hash("dns:client-" + std::to_string(client_++));
    const auto pick = balancer_.pick("r", rules_, tried, now_);
    return pick ? pick->endpoint->target : "none";
  }
  Counts counts() {
    Counts counts;
    for (int i = 0; i < kZonePicks; ++i) ++counts[pick()];
    return counts;
  }
  static int ours(const Counts& counts) {
    int sum = 0;
    for (const auto& [target, count] : counts) sum += target.starts_with("10.0.") ? count : 0;
    return sum;
  }

  iouring::TimePoint now_{1h};
  Balancer balancer_{1};
  PickRules rules_{GetParam()};
  EndpointSet::Pointer set_;
  int client_ = 0;
};

TEST_P(PreferredZone, TakesAllWhileSeventyPercentOfItAreGood) {
  use(zones_of(10, 10));
  EXPECT_EQ(ours(counts()), kZonePicks);
  set_down(3);
  const Counts seen = counts();
  EXPECT_EQ(ours(seen), kZonePicks);
  EXPECT_EQ(seen.size(), 7U);
}

TEST_P(PreferredZone, GivesTheOthersWhatItCannotCarry) {
  use(zones_of(10, 10));
  set_down(5);
  const Counts seen = counts();
  EXPECT_NEAR(ours(seen), kZonePicks * 5 / 7.0, kZonePicks / 50.0);
  EXPECT_EQ(seen.size(), 15U) << "all of the others take part";
  for (const auto& [target, count] : seen) {
    const double share = target.starts_with("10.0.") ? kZonePicks / 7.0 : kZonePicks * 2 / 7.0 / 10;
    EXPECT_NEAR(count, share, share / 4) << target;
  }
}

TEST_P(PreferredZone, WithoutAGoodOneLeavesAllToTheOthers) {
  use(zones_of(4, 2));
  set_down(4);
  EXPECT_EQ(ours(counts()), 0);
  for (const char* other : {"10.1.0.1", "10.1.0.2"})
    endpoint(other).life->set_checked(Checked::kDown, now_);
  EXPECT_EQ(ours(counts()), kZonePicks) << "of those that are no better, ours";
  endpoint("10.0.0.1").life->set_checked(Checked::kUp, now_);
  now_ += 10ms;
  EXPECT_EQ(counts(), (Counts{{"10.0.0.1:80", kZonePicks}})) << "the only good one";
}

TEST_P(PreferredZone, IsUsedAgainOnceItIsGood) {
  use(zones_of(4, 4));
  set_down(4);
  EXPECT_EQ(ours(counts()), 0);
  set_down(4, Checked::kUp);
  EXPECT_EQ(ours(counts()), kZonePicks);
}

TEST_P(PreferredZone, OfWhichDrainingOnesCarryNothing) {
  const auto before = zones_of(2, 2);
  use(before);
  EXPECT_EQ(ours(counts()), kZonePicks);
  use(zones_of(2, 2, before.get(), R"(, "state": "draining")"));
  EXPECT_NEAR(ours(counts()), kZonePicks * 5 / 7.0, kZonePicks / 50.0) << "half of it over 70 %";
}

TEST_P(PreferredZone, IsMeasuredByWeight) {
  use(zones_of(2, 2, nullptr, R"(, "weight": "300")"));
  EXPECT_EQ(ours(counts()), kZonePicks);
  set_down(1);
  EXPECT_NEAR(ours(counts()), kZonePicks * 0.25 / 0.7, kZonePicks / 50.0);
}

TEST_P(PreferredZone, ThatIsFullSpills) {
  rules_.most_per_endpoint = 1;
  use(zones_of(2, 2));
  std::vector<Pick> held;
  Counts seen;
  for (int i = 0; i < 4; ++i) {
    now_ += 10ms;
    rules_.identity = rendezvous_hash(std::to_string(i));
    held.push_back(*balancer_.pick("r", rules_, {}, now_));
    ++seen[held.back().endpoint->target];
  }
  EXPECT_EQ(seen.size(), 4U) << "each has one";
  EXPECT_FALSE(balancer_.pick("r", rules_, {}, now_));
  EXPECT_TRUE(balancer_.any_full("r", rules_));
}

TEST_P(PreferredZone, HasNoPartWhereNoEndpointIsInIt) {
  use(zones_of(0, 3));
  EXPECT_EQ(counts().size(), 3U);
}

TEST_P(PreferredZone, IsPreferredWhereTheRouteSaysSoAlone) {
  use(zones_of(3, 3));
  EXPECT_EQ(ours(counts()), kZonePicks);
  rules_.prefer_zone = false;
  EXPECT_EQ(counts().size(), 6U);
  rules_.prefer_zone = true;
  EXPECT_EQ(ours(counts()), kZonePicks);
}

TEST_P(PreferredZone, OfNoNamePrefersNone) {
  Balancer other(1);
  other.update(set_ = zones_of(3, 3));
  std::set<std::string> seen;
  for (int i = 0; i < kZonePicks; ++i) {
    rules_.identity = rendezvous_hash(std::to_string(i));
    seen.insert(other.pick("r", rules_)->endpoint->target);
  }
  EXPECT_EQ(seen.size(), 6U);
}

TEST_P(PreferredZone, IsTriedAgainWhereItsAddressesFail) {
  use(zones_of(2, 2));
  pick();
  for (const char* own : {"10.0.0.1", "10.0.0.2"}) endpoint(own).health->failed(now_, ECONNREFUSED);
  now_ += 10ms;
  EXPECT_EQ(ours(counts()), 0);
  now_ += 1s;
  EXPECT_EQ(ours(counts()), 2) << "a single connection each";
}

// A connection that goes on takes the next one of the zone, then the others.
TEST_P(PreferredZone, IsTriedWholeBeforeTheOthersAre) {
  use(zones_of(3, 3));
  Tried tried;
  std::vector<bool> near;
  for (int i = 0; i < 6; ++i) {
    const auto pick = balancer_.pick("r", rules_, tried, now_);
    ASSERT_TRUE(pick);
    near.push_back(pick->endpoint->labels->zone == "a");
    tried.push_back(pick->endpoint->id);
  }
  EXPECT_EQ(near, (std::vector<bool>{true, true, true, false, false, false}));
  EXPECT_FALSE(balancer_.pick("r", rules_, tried, now_));
}

INSTANTIATE_TEST_SUITE_P(Each, PreferredZone, testing::ValuesIn(kZoneMethods),
                         [](const auto& each) { return std::to_string(each.index); });

// Gateways of one zone agree: who leaves it does so at each of them, and as more of it fails only
// others follow.
TEST(ZoneAndIdentity, WhoLeavesIsTheSameEverywhere) {
  constexpr int kClients = 5'000;
  const auto set = zones_of(10, 10);
  const auto leavers = [&](std::uint64_t seed) {
    Balancer balancer(seed);
    balancer.prefer("a");
    balancer.update(set);
    PickRules rules(Balance::kHashIdentity);
    rules.prefer_zone = true;
    std::map<int, std::string> left;
    for (int i = 0; i < kClients; ++i) {
      rules.identity = rendezvous_hash("dns:client-" + std::to_string(i));
      const auto pick = balancer.pick("r", rules, {}, iouring::TimePoint(1h));
      if (pick->endpoint->labels->zone != "a") left.emplace(i, pick->endpoint->target);
    }
    return left;
  };
  const auto& all = set->find("r")->endpoints;
  const auto down = [&](std::size_t index) {
    ASSERT_EQ(all[index]->labels->zone, "a");
    all[index]->life->set_checked(Checked::kDown, iouring::TimePoint(1h));
  };
  for (std::size_t i = 0; i < 5; ++i) down(i);
  const auto half = leavers(1);
  EXPECT_NEAR(static_cast<double>(half.size()), kClients * 2 / 7.0, kClients / 50.0);
  EXPECT_EQ(leavers(2), half);
  down(5);
  const auto more = leavers(1);
  EXPECT_GT(more.size(), half.size());
  for (const auto& [identity, place] : half) EXPECT_EQ(more.at(identity), place);
}

TEST(ZoneAndSlowStart, CountsThePartThatAnEndpointHas) {
  const auto set = zones_of(2, 2);
  Balancer balancer(1);
  balancer.prefer("a");
  balancer.update(set);
  PickRules rules(Balance::kRoundRobin);
  rules.prefer_zone = true;
  rules.slow_start = 10s;
  const iouring::TimePoint now{1h};
  for (const auto& endpoint : set->find("r")->endpoints)
    if (endpoint->labels->zone == "a") endpoint->life->begin(now);
  const auto ours = [&](iouring::TimePoint at) {
    int count = 0;
    for (int i = 0; i < kZonePicks; ++i)
      count += balancer.pick("r", rules, {}, at)->endpoint->labels->zone == "a" ? 1 : 0;
    return count;
  };
  EXPECT_NEAR(ours(now), kZonePicks / 7.0, kZonePicks / 50.0) << "a tenth of it over 70 %";
  EXPECT_NEAR(ours(now + 5s), kZonePicks * 5 / 7.0, kZonePicks / 50.0);
  EXPECT_EQ(ours(now + 7s), kZonePicks);
}

}  // namespace
}  // namespace sallyport::gateway
