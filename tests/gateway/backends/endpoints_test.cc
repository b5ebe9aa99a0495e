#include "gateway/backends/endpoints.h"

#include <gtest/gtest.h>

#include <string>

namespace sallyport::gateway {
namespace {

Discovery parsed(std::string_view text) {
  auto discovery = parse_discovery(text, "d.json");
  EXPECT_TRUE(discovery) << discovery.error().to_string();
  return discovery ? *discovery : Discovery{};
}

Resolutions resolved(const std::string& name, std::initializer_list<std::string_view> addresses) {
  Resolution resolution;
  for (const auto text : addresses) {
    resolution.addresses.push_back(*iouring::SocketAddress::parse(text));
  }
  return {{name, resolution}};
}

std::vector<std::string> addresses_of(const RouteEndpoints& route) {
  std::vector<std::string> result;
  for (const auto& endpoint : route.endpoints) result.push_back(endpoint->address.to_string());
  return result;
}

TEST(EndpointSet, HoldsAddressesOfEveryKind) {
  const auto set = EndpointSet::build(
      parsed(R"([{"targets": ["10.0.0.7:80", "[::1]:90", "unix:/run/x.sock", "name:70"],
                  "labels": {"route": "r", "weight": "7"}}])"),
      resolved("name", {"10.0.0.1:0", "[::2]:0"}), nullptr);
  const RouteEndpoints* route = set->find("r");
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(addresses_of(*route),
            (std::vector<std::string>{"10.0.0.7:80", "[::1]:90", "unix:/run/x.sock", "10.0.0.1:70",
                                      "[::2]:70"}));
  EXPECT_EQ(route->endpoints[3]->target, "name:70");
  EXPECT_EQ(route->endpoints[4]->target, "name:70") << "each address is an endpoint of its own";
  EXPECT_EQ(route->endpoints[4]->weight(), 7u);
  EXPECT_EQ(route->usable(), 5u);
  EXPECT_TRUE(route->unresolved.empty());
  EXPECT_EQ(set->find("s"), nullptr);
}

TEST(EndpointSet, NamesThatHaveNoAddressYetAreListed) {
  const auto set = EndpointSet::build(
      parsed(R"([{"targets": ["name:70"], "labels": {"route": "r"}}])"), {}, nullptr);
  EXPECT_EQ(set->find("r")->unresolved, std::vector<std::string>{"name:70"});
  EXPECT_EQ(set->find("r")->usable(), 0u);
}

TEST(EndpointSet, CountsAsUsableOnlyWhatTakesNewConnections) {
  const auto set = EndpointSet::build(
      parsed(R"([{"targets": ["a:1"], "labels": {"route": "r", "state": "draining"}},
                 {"targets": ["10.0.0.1:1"], "labels": {"route": "r", "state": "down"}},
                 {"targets": ["10.0.0.2:1"], "labels": {"route": "r", "weight": "0"}},
                 {"targets": ["10.0.0.3:1"], "labels": {"route": "r"}}])"),
      {}, nullptr);
  EXPECT_EQ(set->find("r")->endpoints.size(), 3u);
  EXPECT_EQ(set->find("r")->usable(), 1u);
}

TEST(EndpointSet, WhatStaysKeepsItsIdAndItsObject) {
  const auto first = EndpointSet::build(
      parsed(R"([{"targets": ["10.0.0.1:1", "10.0.0.2:1"], "labels": {"route": "r"}}])"), {},
      nullptr);
  const auto second = EndpointSet::build(
      parsed(R"([{"targets": ["10.0.0.3:1", "10.0.0.2:1"], "labels": {"route": "r"}},
                 {"targets": ["10.0.0.2:1"], "labels": {"route": "s"}}])"),
      {}, first.get());
  const auto& before = first->find("r")->endpoints;
  const auto& after = second->find("r")->endpoints;
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0], before[1]) << "sorted by id: the old one comes first";
  EXPECT_EQ(after[1]->address.to_string(), "10.0.0.3:1");
  EXPECT_GT(after[1]->id, before[1]->id);
  EXPECT_NE(second->find("s")->endpoints[0]->id, after[0]->id) << "another route's is another one";
}

TEST(EndpointSet, ChangedLabelsMakeANewObjectWithTheSameId) {
  const auto first = EndpointSet::build(
      parsed(R"([{"targets": ["10.0.0.1:1"], "labels": {"route": "r"}}])"), {}, nullptr);
  const auto second = EndpointSet::build(
      parsed(R"([{"targets": ["10.0.0.1:1"], "labels": {"route": "r", "state": "draining"}}])"), {},
      first.get());
  EXPECT_EQ(second->find("r")->endpoints[0]->id, first->find("r")->endpoints[0]->id);
  EXPECT_EQ(second->find("r")->endpoints[0]->state(), EndpointState::kDraining);
  EXPECT_EQ(first->find("r")->endpoints[0]->state(), EndpointState::kReady);
}

TEST(EndpointSet, WeightsAreThoseOfTheEndpoints) {
  const auto set = EndpointSet::build(
      parsed(R"([{"targets": ["10.0.0.1:1"], "labels": {"route": "r", "weight": "9"}},
                 {"targets": ["10.0.0.2:1"], "labels": {"route": "r", "state": "down"}}])"),
      {}, nullptr);
  const RouteEndpoints& route = *set->find("r");
  ASSERT_EQ(route.weights.size(), 2u);
  EXPECT_EQ(route.weights[0].id, route.endpoints[0]->id);
  EXPECT_EQ(route.weights[0].weight, 9u);
  EXPECT_EQ(route.weights[1].weight, 0u);
}

TEST(EndpointSet, KnowsAnAddressByItsFailuresWhateverItsRouteLabelsAndGeneration) {
  const auto first =
      EndpointSet::build(parsed(R"([{"targets": ["10.0.0.1:1"], "labels": {"route": "r"}},
                 {"targets": ["10.0.0.1:1", "10.0.0.1:2"], "labels": {"route": "s"}}])"),
                         {}, nullptr);
  const Endpoint& in_r = *first->find("r")->endpoints[0];
  const Endpoint& in_s = *first->find("s")->endpoints[0];
  EXPECT_EQ(in_r.health, in_s.health);
  EXPECT_NE(in_r.life, in_s.life) << "the metric has a label for the route";
  EXPECT_NE(first->find("s")->endpoints[1]->health, in_s.health);

  const auto second = EndpointSet::build(
      parsed(R"([{"targets": ["10.0.0.1:1"], "labels": {"route": "r", "weight": "7"}},
                 {"targets": ["10.0.0.1:2"], "labels": {"route": "t"}}])"),
      {}, first.get());
  EXPECT_EQ(second->find("r")->endpoints[0]->health, in_r.health);
  EXPECT_EQ(second->find("r")->endpoints[0]->life, in_r.life);
  EXPECT_EQ(second->find("t")->endpoints[0]->health, first->find("s")->endpoints[1]->health);
}

constexpr iouring::TimePoint kBuiltAt{std::chrono::hours(1)};

EndpointSet::Pointer built(const std::string& text, const EndpointSet::Pointer& previous,
                           iouring::TimePoint now = kBuiltAt) {
  auto set = EndpointSet::build(parsed(text), {}, previous.get(), now);
  set->mark_leaving(now);
  return set;
}

constexpr char kOne[] = R"([{"targets": ["10.0.0.1:1"], "labels": {"route": "r"}}])";

TEST(EndpointSet, ADrainingEndpointLeavesAndMayStayAfterAll) {
  const auto first = built(kOne, nullptr);
  const auto second = built(
      R"([{"targets": ["10.0.0.1:1"], "labels": {"route": "r", "state": "draining"}}])", first);
  const EndpointLife& life = *second->find("r")->endpoints[0]->life;
  EXPECT_EQ(life.leaving_since(), kBuiltAt);
  built(kOne, second);
  EXPECT_EQ(life.leaving_since(), iouring::TimePoint::max());
}

}  // namespace
}  // namespace sallyport::gateway
