// The choice of a route against a slow, obvious reference, over random policies and hellos.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/policy/route.h"

namespace sallyport::gateway {
namespace {

using Strings = std::vector<std::string>;

bool contains(const Strings& list, const std::string& text) {
  return std::ranges::find(list, text) != list.end();
}

bool shares_one(const Strings& a, const Strings& b) {
  return std::ranges::any_of(a, [&](const std::string& each) { return contains(b, each); });
}

// Two routes under one name are told apart by ALPN only; one of each may do without.
bool cannot_be_told_apart(const Route& a, const Route& b) {
  if (a.name == b.name) return true;
  if (a.sni.empty() && b.sni.empty()) return true;
  if (!shares_one(a.sni, b.sni)) return false;
  if (a.alpn.empty() || b.alpn.empty()) return a.alpn.empty() && b.alpn.empty();
  return shares_one(a.alpn, b.alpn);
}

bool reference_refuses(const std::vector<Route>& routes) {
  for (std::size_t i = 0; i < routes.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (cannot_be_told_apart(routes[i], routes[j])) return true;
    }
  }
  return false;
}

// "route", "route+protocol", "no_route" or "no_alpn". `name` is in lower case and no IP literal.
std::string reference_choice(const std::vector<Route>& routes, const std::string& name,
                             const Strings& offers) {
  const auto with = [&](auto fits) {
    std::vector<const Route*> found;
    for (const Route& route : routes) {
      if (fits(route)) found.push_back(&route);
    }
    return found;
  };
  const std::size_t dot = name.find('.');
  const bool has_parent = dot != std::string::npos && dot > 0;
  std::vector<const Route*> level;
  if (!name.empty()) level = with([&](const Route& route) { return contains(route.sni, name); });
  if (level.empty() && has_parent) {
    const std::string wildcard = "*" + name.substr(dot);
    level = with([&](const Route& route) { return contains(route.sni, wildcard); });
  }
  if (level.empty()) level = with([](const Route& route) { return route.sni.empty(); });
  if (level.empty()) return "no_route";
  for (const Route* route : level) {
    for (const std::string& protocol : route->alpn) {
      if (contains(offers, protocol)) return route->name + "+" + protocol;
    }
  }
  for (const Route* route : level) {
    if (route->alpn.empty()) return route->name;
  }
  return "no_alpn";
}

std::string chosen(const Policy& policy, const std::string& sni, const Strings& offers) {
  const std::vector<std::string_view> views(offers.begin(), offers.end());
  const auto choice = choose(policy, sni, views);
  if (!choice) return choice.error() == ktls::HandshakeResult::kNoRoute ? "no_route" : "no_alpn";
  if (choice->alpn.empty()) return choice->route->name;
  return choice->route->name + "+" + std::string(choice->alpn);
}

class World {
 public:
  explicit World(unsigned seed) : random_(seed) {}

  std::vector<Route> routes() {
    std::vector<Route> made(1 + below(4));
    for (std::size_t i = 0; i < made.size(); ++i) {
      made[i].name = "r" + std::to_string(below(20) == 0 ? 0 : i);
      made[i].allow_any_verified = true;
      if (below(4) != 0) made[i].sni = some({"a.x", "b.x", "*.x", "*.b.x", "a.b.x", "x"}, 3);
      if (below(2) != 0) made[i].alpn = some(kProtocols, 2);
    }
    return made;
  }
  std::string name() {
    return one_of({"", "a.x", "b.x", "c.x", "a.b.x", "c.b.x", "d.c.b.x", "x", "y", ".x"});
  }
  Strings offers() { return below(3) == 0 ? Strings{} : some(kProtocols, 3); }
  // As a client may write `name`.
  std::string spelled(std::string name) {
    for (char& c : name) {
      if (c >= 'a' && c <= 'z' && below(2) == 0) c = static_cast<char>(c - 'a' + 'A');
    }
    return below(3) == 0 && !name.empty() ? name + "." : name;
  }

 private:
  static constexpr std::initializer_list<const char*> kProtocols{"h2", "http/1.1", "x"};

  unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }
  std::string one_of(std::initializer_list<const char*> texts) {
    return texts.begin()[below(static_cast<unsigned>(texts.size()))];
  }
  // 1 to `most` of them, in any order, each once.
  Strings some(std::initializer_list<const char*> texts, unsigned most) {
    Strings all(texts.begin(), texts.end());
    std::ranges::shuffle(all, random_);
    all.resize(1 + below(most));
    return all;
  }

  std::mt19937 random_;
};

constexpr unsigned kRouteSeeds = 20;

TEST(ChooseProperty, AgreesWithTheReferenceOnEveryHello) {
  int policies = 0;
  for (unsigned seed = 0; seed < kRouteSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    for (int round = 0; round < 300; ++round) {
      const std::vector<Route> routes = world.routes();
      const auto policy = Policy::build(routes);
      if (!policy) continue;
      ++policies;
      for (int hello = 0; hello < 20; ++hello) {
        const std::string name = world.name();
        const std::string sni = world.spelled(name);
        const Strings offers = world.offers();
        ASSERT_EQ(chosen(**policy, sni, offers), reference_choice(routes, name, offers))
            << "round " << round << ", sni '" << sni << "', " << offers.size() << " offers";
      }
    }
  }
  EXPECT_GT(policies, 1'000);
}

TEST(PolicyProperty, RefusesExactlyTheRoutesThatCannotBeToldApart) {
  int refused = 0;
  int built = 0;
  for (unsigned seed = 0; seed < kRouteSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    for (int round = 0; round < 500; ++round) {
      const std::vector<Route> routes = world.routes();
      const bool refuses = !Policy::build(routes);
      ASSERT_EQ(refuses, reference_refuses(routes)) << "round " << round;
      ++(refuses ? refused : built);
    }
  }
  EXPECT_GT(refused, 1'000);
  EXPECT_GT(built, 1'000);
}

}  // namespace
}  // namespace sallyport::gateway
