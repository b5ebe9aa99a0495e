#include "gateway/backends/gone_endpoints.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "gateway/backends/known_by_name.h"

namespace sallyport::gateway {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr iouring::TimePoint kBegin{std::chrono::hours(1)};

// Generations that take over from each other, as a Publisher makes them.
class Generations {
 public:
  // The targets of route "r", of each `PORT`: 10.0.0.1:PORT.
  void publish(const std::vector<int>& ports, iouring::TimePoint now = kBegin) {
    Discovery discovery;
    DiscoveredRoute& route = discovery.routes.emplace_back();
    route.name = "r";
    for (const int port : ports) {
      const std::string text = "10.0.0.1:" + std::to_string(port);
      route.targets.push_back({*Target::parse(text), text, labels_});
    }
    publish(discovery, now);
  }
  void publish(const Discovery& discovery, iouring::TimePoint now) {
    auto next = EndpointSet::build(discovery, {}, set_.get(), now);
    next->mark_leaving(now);
    forgotten_ = gone_.take_over(set_.get(), *next, now);
    set_ = std::move(next);
  }

  const Endpoint& endpoint(std::size_t place = 0) const {
    return *set_->find("r")->endpoints.at(place);
  }
  std::vector<std::string> gone() const { return targets(gone_.list()); }
  std::vector<std::string> forgotten() const { return targets(forgotten_); }
  std::size_t looks() const { return gone_.looks(); }

 private:
  static std::vector<std::string> targets(const std::vector<GoneEndpoint>& endpoints) {
    std::vector<std::string> all;
    for (const GoneEndpoint& each : endpoints) all.push_back(each.endpoint->target);
    return all;
  }

  std::shared_ptr<const GroupLabels> labels_ = std::make_shared<GroupLabels>();
  EndpointSet::Pointer set_;
  GoneEndpoints gone_;
  std::vector<GoneEndpoint> forgotten_;
};

using Texts = std::vector<std::string>;

// A name server, or a feeder, that takes an endpoint away and gives it back.
TEST(GoneEndpoints, WhatComesBackHasItsLifeAndAnotherId) {
  Generations generations;
  generations.publish({1});
  const Endpoint before = generations.endpoint();
  generations.publish({2});
  EXPECT_EQ(generations.gone(), Texts{"10.0.0.1:1"});
  EXPECT_EQ(before.life->leaving_since(), kBegin);
  generations.publish({1});
  const Endpoint& after = generations.endpoint();
  EXPECT_EQ(after.life, before.life);
  EXPECT_EQ(after.health, before.health);
  EXPECT_EQ(after.route_life, before.route_life);
  EXPECT_NE(after.id, before.id) << "shards have forgotten that it was there";
  EXPECT_EQ(after.life->leaving_since(), iouring::TimePoint::max());
  EXPECT_EQ(generations.gone(), Texts{"10.0.0.1:2"});
}

TEST(GoneEndpoints, WhatHasNoConnectionsIsForgottenAfterAWhile) {
  Generations generations;
  generations.publish({1});
  const Endpoint before = generations.endpoint();
  generations.publish({2});
  generations.publish({2}, kBegin + GoneEndpoints::kRemembered);
  EXPECT_EQ(generations.gone(), Texts{"10.0.0.1:1"});
  generations.publish({2}, kBegin + GoneEndpoints::kRemembered + seconds(1));
  EXPECT_EQ(generations.gone(), Texts{});
  EXPECT_EQ(generations.forgotten(), Texts{"10.0.0.1:1"});
  generations.publish({1}, kBegin + GoneEndpoints::kRemembered + seconds(2));
  EXPECT_NE(generations.endpoint().life, before.life) << "though it is held by somebody";
}

TEST(GoneEndpoints, WhatHasConnectionsIsRememberedUntilTheyHaveEndedAndTheRouteMayGo) {
  Generations generations;
  generations.publish({1});
  const auto life = generations.endpoint().life;
  ASSERT_TRUE(life->enter(0));
  generations.publish({2});
  const auto hours_later = kBegin + std::chrono::hours(2);
  generations.publish(Discovery{}, hours_later);
  EXPECT_EQ(generations.gone(), (Texts{"10.0.0.1:2", "10.0.0.1:1"}));
  EXPECT_EQ(life->leaving_since(), kBegin);
  life->leave();
  generations.publish(Discovery{}, hours_later + minutes(6));
  EXPECT_EQ(generations.gone(), Texts{});
}

std::vector<int> ports(int first, int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::ranges::generate(all, [port = first]() mutable { return port++; });
  return all;
}

TEST(GoneEndpoints, ForgetsThoseThatLeftFirstWhereTheyAreTooMany) {
  constexpr auto kMost = static_cast<int>(GoneEndpoints::kMost);
  Generations generations;
  generations.publish({1, 2, 3});
  const auto busy = generations.endpoint(1).life;
  ASSERT_TRUE(busy->enter(0));
  generations.publish(ports(4, kMost - 3));
  EXPECT_EQ(generations.gone().size(), 3U);
  generations.publish({50'000});
  EXPECT_EQ(generations.gone().size(), GoneEndpoints::kMost);
  generations.publish({50'001, 50'002});
  EXPECT_EQ(generations.forgotten(), Texts{"10.0.0.1:1"});
  generations.publish({50'003});
  EXPECT_EQ(generations.forgotten(), (Texts{"10.0.0.1:3", "10.0.0.1:4"}))
      << "but for the one with a connection";
  busy->leave();
}

// A publication has the shard's CPU: it may cost what changes, and not what has left meanwhile.
TEST(GoneEndpoints, ATakeoverLooksAtTwoForEachThatLeftHoweverManyAreGone) {
  constexpr auto kMost = static_cast<int>(GoneEndpoints::kMost);
  Generations generations;
  generations.publish(ports(1, kMost));
  generations.publish({20'000});
  ASSERT_EQ(generations.gone().size(), GoneEndpoints::kMost);
  EXPECT_EQ(generations.looks(), 0U);
  for (int i = 1; i <= 100; ++i) {
    const std::size_t before = generations.looks();
    generations.publish({20'000 + i});
    EXPECT_LE(generations.looks() - before, 2U);
    EXPECT_EQ(generations.gone().size(), GoneEndpoints::kMost);
  }
}

TEST(KnownByName, KnowsWhatIsHeldAndLetsGoOfTheNamesOfTheRest) {
  KnownByName<int> known;
  const auto held = known.make("held");
  EXPECT_EQ(known.find_or_make("held"), held);
  for (int i = 0; i < 10'000; ++i) static_cast<void>(known.make(std::to_string(i)));
  EXPECT_EQ(known.find("held"), held);
  EXPECT_EQ(known.find("7"), nullptr);
  EXPECT_LE(known.size(), 64U);
}

}  // namespace
}  // namespace sallyport::gateway
