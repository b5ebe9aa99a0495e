#include "gateway/run/discovery_trail.h"

#include <gtest/gtest.h>

#include "tests/gateway/backends/discovery_text.h"

namespace sallyport::gateway {
namespace {

constexpr std::chrono::sys_seconds at(int seconds) {
  return std::chrono::sys_seconds(std::chrono::seconds(seconds));
}

Discovery two(const std::string& r, const std::string& s) {
  return parsed(R"([{"targets": [")" + r + R"("], "labels": {"route": "r"}},
                    {"targets": [")" +
                s + R"("], "labels": {"route": "s"}}])");
}

struct stat status_of(std::time_t modified) {
  struct stat status{};
  status.st_uid = 7;
  status.st_mtim.tv_sec = modified;
  return status;
}

TEST(DiscoveryTrail, SaysSinceWhenEachRouteHasItsTargets) {
  DiscoveryTrail trail;
  const Discovery first = two("a:1", "b:1");
  trail.took(nullptr, first, at(10));
  const Discovery second = two("a:1", "b:2");
  trail.took(&first, second, at(20));
  EXPECT_EQ(trail.routes().at("r").since, at(10));
  EXPECT_EQ(trail.routes().at("s").since, at(20));
  trail.took(&second, parsed("[]"), at(30));
  EXPECT_TRUE(trail.routes().empty());
}

TEST(DiscoveryTrail, CountsRoutesThatHaveTheTargetsOfTheState) {
  DiscoveryTrail trail;
  const Discovery kept = two("a:1", "b:1");
  trail.begin_with(kept, at(10));
  EXPECT_EQ(trail.kept_routes(), 2u);
  Discovery next = two("a:1", "b:1");
  next.routes[1].refused = ConfigError{"d.json", 1, "", "why"};
  trail.took(&kept, next, at(20));
  EXPECT_EQ(trail.kept_routes(), 1u);
  EXPECT_FALSE(trail.routes().at("r").kept) << "the file says the same";
  EXPECT_TRUE(trail.routes().at("s").kept);
  trail.took(&next, two("a:1", "b:1"), at(30));
  EXPECT_EQ(trail.kept_routes(), 0u);
}

TEST(DiscoveryTrail, KnowsTheContentThatWasReadLastAndWhenItFirstWas) {
  DiscoveryTrail trail;
  trail.read(WrittenFile(status_of(5), "abc", at(10)));
  trail.read(WrittenFile(status_of(6), "abc", at(20)));
  EXPECT_EQ(trail.file()->sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(trail.file()->modified, at(6));
  EXPECT_EQ(trail.file()->uid, 7u);
  EXPECT_EQ(trail.file()->read, at(10));
  trail.read(WrittenFile(status_of(6), "abd", at(30)));
  EXPECT_EQ(trail.file()->read, at(30));
  trail.read(std::nullopt);
  EXPECT_FALSE(trail.file());
}

}  // namespace
}  // namespace sallyport::gateway
