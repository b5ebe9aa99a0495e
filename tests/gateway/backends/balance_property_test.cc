// Balancing against slow, obvious references, over random weights, releases and generations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gateway/backends/balance.h"

namespace sallyport::gateway {
namespace {

constexpr Balance kMethods[] = {Balance::kRoundRobin, Balance::kLeastConnections,
                                Balance::kPowerOfTwo};

// What one shard knows of an endpoint.
struct Known {
  std::uint32_t weight = 0;  // 0: takes no new connections
  std::uint64_t in_use = 0;
  int picked_at = -1;  // which pick was its last one
};
using Model = std::map<std::uint64_t, Known>;  // by id

// Connections in use for the weight, with one more: compared without rounding.
bool is_lighter(const Known& a, const Known& b) {
  return (a.in_use + 1) * b.weight < (b.in_use + 1) * a.weight;
}

// One balancer with one route, and the model that its picks are held against.
class Trial {
 public:
  Trial(unsigned seed, Balance method) : random_(seed), balancer_(seed), method_(method) {}

  unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }

  // A new generation: endpoint i has weights[i]; 0 = draining.
  void update(const std::vector<unsigned>& weights) {
    std::string text = "[";
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (i > 0) text += ",";
      text += R"({"targets": ["10.0.0.)";
      text += std::to_string(i + 1);
      text += R"(:1"], "labels": {"route": "r", )";
      text += weights[i] == 0 ? R"("state": "draining"}})"
                              : R"("weight": ")" + std::to_string(weights[i]) + R"("}})";
    }
    const auto discovery = parse_discovery(text + "]", "d.json");
    ASSERT_TRUE(discovery) << discovery.error().to_string();
    endpoints_ = EndpointSet::build(*discovery, {}, endpoints_.get());
    balancer_.update(endpoints_);

    Model next;
    if (const RouteEndpoints* route = endpoints_->find("r")) {
      for (const auto& endpoint : route->endpoints) {
        Known known = model_.contains(endpoint->id) ? model_[endpoint->id] : Known{};
        known.weight = endpoint->takes_new_connections() ? endpoint->weight() : 0;
        next[endpoint->id] = known;
      }
    }
    model_ = std::move(next);
  }

  void update_at_random() {
    std::vector<unsigned> weights(below(8));
    for (unsigned& weight : weights) weight = below(3) == 0 ? below(4) : 1 + below(200);
    update(weights);
  }

  // Of those that take new connections and were not tried. The id, or none.
  std::optional<std::uint64_t> pick(const Tried& tried = {}) {
    std::optional<Pick> pick = balancer_.pick("r", method_, tried);
    if (!pick) return std::nullopt;
    const std::uint64_t id = pick->endpoint->id;
    held_.push_back(std::move(*pick));
    return id;
  }
  // A connection that goes on from others takes no turn.
  void count(std::uint64_t id, const Tried& tried = {}) {
    model_[id].in_use += 1;
    if (tried.empty()) model_[id].picked_at = picks_++;
  }

  void release_one_at_random() {
    if (held_.empty()) return;
    const auto one = held_.begin() + below(static_cast<unsigned>(held_.size()));
    release(*one);
    held_.erase(one);
  }
  void release_all() {
    for (Pick& pick : held_) release(pick);
    held_.clear();
  }

  std::vector<std::uint64_t> usable(const Tried& tried = {}) const {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, known] : model_) {
      if (known.weight > 0 && std::ranges::find(tried, id) == tried.end()) ids.push_back(id);
    }
    return ids;
  }
  Tried tried_at_random() {
    Tried tried;
    if (below(3) != 0) return tried;
    for (const auto& [id, known] : model_) {
      if (below(2) == 0) tried.push_back(id);
    }
    return tried;
  }
  const Known& known(std::uint64_t id) const { return model_.at(id); }

 private:
  void release(Pick& pick) {
    const auto known = model_.find(pick.endpoint->id);
    if (known != model_.end()) known->second.in_use -= 1;
    pick.in_use.release();
  }

  std::mt19937 random_;
  Balancer balancer_;
  Balance method_;
  EndpointSet::Pointer endpoints_;
  Model model_;
  std::vector<Pick> held_;  // after the balancer: no connection outlives it
  int picks_ = 0;
};

constexpr unsigned kSeeds = 40;

// Runs `check(trial, picked, tried)` after each of many picks between releases and new generations.
template <class Check>
void check_picks(Balance method, Check check) {
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Trial trial(seed, method);
    trial.update_at_random();
    for (int step = 0; step < 1'000; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      if (trial.below(50) == 0) trial.update_at_random();
      if (trial.below(2) == 0) trial.release_one_at_random();
      const Tried tried = trial.tried_at_random();
      const std::optional<std::uint64_t> picked = trial.pick(tried);
      check(trial, picked, tried);
      if (::testing::Test::HasFatalFailure()) return;
      if (picked) trial.count(*picked, tried);
    }
    trial.release_all();
  }
}

TEST(BalancerProperty, PicksAUsableEndpointWheneverOneIsLeft) {
  for (const Balance method : kMethods) {
    SCOPED_TRACE(to_string(method));
    check_picks(method,
                [](const Trial& trial, std::optional<std::uint64_t> picked, const Tried& tried) {
                  const std::vector<std::uint64_t> usable = trial.usable(tried);
                  ASSERT_EQ(picked.has_value(), !usable.empty());
                  if (picked) ASSERT_NE(std::ranges::find(usable, *picked), usable.end());
                });
  }
}

TEST(LeastConnectionsProperty, PicksAMinimumAndTheLongestUnpickedAmongEquals) {
  check_picks(
      Balance::kLeastConnections,
      [](const Trial& trial, std::optional<std::uint64_t> picked, const Tried& tried) {
        if (!picked) return;
        const Known& chosen = trial.known(*picked);
        for (const std::uint64_t id : trial.usable(tried)) {
          const Known& other = trial.known(id);
          ASSERT_FALSE(is_lighter(other, chosen)) << "endpoint " << id << " has fewer connections";
          if (is_lighter(chosen, other)) continue;
          ASSERT_LE(chosen.picked_at, other.picked_at) << "endpoint " << id << " has waited longer";
        }
      });
}

// Of two different ones the better: so never one that all others are better than.
TEST(PowerOfTwoProperty, NeverPicksTheOneThatIsWorseThanAllOthers) {
  check_picks(Balance::kPowerOfTwo,
              [](const Trial& trial, std::optional<std::uint64_t> picked, const Tried& tried) {
                const std::vector<std::uint64_t> usable = trial.usable(tried);
                if (usable.size() < 2) return;
                const Known& chosen = trial.known(*picked);
                const bool beats_one = std::ranges::any_of(usable, [&](std::uint64_t id) {
                  return id != *picked && !is_lighter(trial.known(id), chosen);
                });
                ASSERT_TRUE(beats_one);
              });
}

// Two are drawn evenly out of n. With loads that all differ, the one with k better ones beside it
// is picked if the other one drawn is among the n - 1 - k worse ones.
TEST(PowerOfTwoProperty, DrawsTheTwoEvenly) {
  constexpr std::size_t kEndpoints = 6;
  constexpr int kPicks = 60'000;
  for (unsigned seed = 0; seed < 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Trial trial(seed, Balance::kPowerOfTwo);
    trial.update({1, 2, 4, 8, 16, 32});  // nothing in use: the heavier the lighter loaded
    std::map<std::uint64_t, int> counts;
    for (int i = 0; i < kPicks; ++i) {
      const auto picked = trial.pick();
      ASSERT_TRUE(picked);
      trial.count(*picked);
      ++counts[*picked];
      trial.release_all();
    }
    std::size_t worse = 0;
    for (const std::uint64_t id : trial.usable()) {  // in the order of the weights
      const double share = static_cast<double>(worse++) / (kEndpoints * (kEndpoints - 1) / 2.0);
      const double spread = 5 * std::sqrt(kPicks * share * (1 - share));
      EXPECT_NEAR(counts[id], kPicks * share, spread) << "endpoint " << id;
    }
  }
}

// The reference gives each endpoint its n-th pick at the virtual time (n - 1/2) / weight, so that
// each gets its weight in every stretch of (sum of weights) picks. Times of equal value are equal
// to the reference and a rounding apart in the balancer: either order is right.
TEST(RoundRobinProperty, PicksInTheOrderOfTheVirtualTimes) {
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Trial trial(seed, Balance::kRoundRobin);
    std::vector<unsigned> weights(1 + trial.below(8));
    for (unsigned& weight : weights) weight = 1 + trial.below(trial.below(2) == 0 ? 5 : 1'000);
    trial.update(weights);
    std::map<std::uint64_t, std::uint64_t> picked_before;
    const auto is_due_before = [&](std::uint64_t a, std::uint64_t b) {
      return (2 * picked_before[a] + 1) * trial.known(b).weight <
             (2 * picked_before[b] + 1) * trial.known(a).weight;
    };
    for (int step = 0; step < 5'000; ++step) {
      const auto picked = trial.pick();
      ASSERT_TRUE(picked);
      for (const std::uint64_t id : trial.usable()) {
        ASSERT_FALSE(is_due_before(id, *picked)) << "step " << step << ", endpoint " << id;
      }
      ++picked_before[*picked];
      trial.release_all();
    }
  }
}

TEST(RoundRobinProperty, GivesEachItsWeightInEveryStretchOfTheSumOfWeights) {
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Trial trial(seed, Balance::kRoundRobin);
    std::vector<unsigned> weights(1 + trial.below(8));
    for (unsigned& weight : weights) weight = 1 + trial.below(50);
    trial.update(weights);
    const unsigned sum = std::accumulate(weights.begin(), weights.end(), 0U);
    for (int round = 0; round < 10; ++round) {
      std::map<std::uint64_t, unsigned> counts;
      for (unsigned i = 0; i < sum; ++i) {
        ++counts[trial.pick().value()];
        trial.release_all();
      }
      for (const std::uint64_t id : trial.usable()) {
        ASSERT_EQ(counts[id], trial.known(id).weight) << "round " << round << ", endpoint " << id;
      }
    }
  }
}

// Between two picks of an endpoint, each other one is picked as often as its weight is worth in
// that time, and once more; each new generation may let one endpoint begin anew, which is once more
// again.
TEST(RoundRobinProperty, StarvesNoEndpointAcrossGenerations) {
  constexpr unsigned kMost = 20;  // weight
  constexpr int kEvery = 7;       // picks, a new generation
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Trial trial(seed, Balance::kRoundRobin);
    const unsigned count = 2 + trial.below(6);
    std::vector<unsigned> weights(count);
    for (unsigned& weight : weights) weight = 1 + trial.below(kMost);
    trial.update(weights);
    std::map<std::uint64_t, unsigned> unpicked_for;
    for (int step = 0; step < 5'000; ++step) {
      if (step % kEvery == 0) {
        // The first endpoint stays as it is; another one changes, comes or goes.
        weights[1 + trial.below(count - 1)] = trial.below(kMost + 1);
        trial.update(weights);
      }
      const auto picked = trial.pick();
      ASSERT_TRUE(picked);
      trial.release_all();
      const std::uint64_t first = trial.usable().front();
      unpicked_for[first] = *picked == first ? 0 : unpicked_for[first] + 1;
      const unsigned each = kMost / trial.known(first).weight + 1;
      const unsigned still = (count - 1) * (each + 1) + 1;
      ASSERT_LE(unpicked_for[first], still * kEvery / (kEvery - 1) + 1) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace sallyport::gateway
