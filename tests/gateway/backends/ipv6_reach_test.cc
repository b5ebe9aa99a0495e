#include "gateway/backends/ipv6_reach.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "gateway/backends/balance.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

class Ipv6ReachTest : public testing::Test {
 protected:
  Ipv6Reach::TimePoint now_{1h};
  Ipv6Reach reach_;
};

TEST_F(Ipv6ReachTest, IsAssumedBeforeAnythingIsKnown) {
  EXPECT_FALSE(reach_.avoided(now_));
}

TEST_F(Ipv6ReachTest, WantOfARouteIsRememberedForAMinute) {
  for (const int error : {ENETUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT}) {
    reach_.failed(now_, error);
    EXPECT_TRUE(reach_.avoided(now_ + 59s));
    now_ += 1min;
    EXPECT_FALSE(reach_.avoided(now_));
  }
}

TEST_F(Ipv6ReachTest, OtherFailuresAreOfOneAddress) {
  for (const int error : {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET, EACCES}) {
    reach_.failed(now_, error);
    EXPECT_FALSE(reach_.avoided(now_)) << error;
  }
}

TEST_F(Ipv6ReachTest, ASuccessEndsIt) {
  reach_.failed(now_, ENETUNREACH);
  reach_.succeeded(now_ + 1s);
  EXPECT_FALSE(reach_.avoided(now_ + 1s));
}

// Or one address that is out of the way, of many that are not, would take all of them aside.
TEST_F(Ipv6ReachTest, IsNotDoubtedForAMinuteAfterASuccess) {
  reach_.succeeded(now_);
  reach_.failed(now_ + 58s, ENETUNREACH);
  EXPECT_FALSE(reach_.avoided(now_ + 58s));
  reach_.failed(now_ + 1min, ENETUNREACH);
  EXPECT_TRUE(reach_.avoided(now_ + 1min));
}

TEST_F(Ipv6ReachTest, EachSuccessCountsFromItsOwnTime) {
  for (int i = 0; i < 600; ++i) reach_.succeeded(now_ += 100ms);
  reach_.failed(now_ + 58s, ENETUNREACH);
  EXPECT_FALSE(reach_.avoided(now_ + 58s));
}

TEST(Ipv6ReachOfAnAddress, ConcernsThoseThatNeedARoute) {
  for (const char* const address : {"[2001:db8::1]:80", "[fd00::1]:80", "[64:ff9b::1.2.3.4]:80"})
    EXPECT_TRUE(Ipv6Reach::concerns(*iouring::SocketAddress::parse(address))) << address;
  for (const char* const address :
       {"192.0.2.1:80", "[::1]:80", "[::ffff:192.0.2.1]:80", "[fe80::1%1]:80", "unix:/run/x"})
    EXPECT_FALSE(Ipv6Reach::concerns(*iouring::SocketAddress::parse(address))) << address;
}

class EndpointsOfBothFamilies : public testing::TestWithParam<Balance> {
 protected:
  EndpointsOfBothFamilies() { renew(R"("192.0.2.1:80", "[2001:db8::1]:80", "[2001:db8::2]:80")"); }

  void renew(const std::string& targets) {
    const auto discovery =
        parse_discovery(R"([{"labels": {"route": "r"}, "targets": [)" + targets + "]}]", "d.json");
    ASSERT_TRUE(discovery) << discovery.error().to_string();
    set_ = EndpointSet::build(*discovery, {}, set_.get());
    balancer_.update(set_);
  }
  const Endpoint& endpoint(std::size_t index) const { return *set_->find("r")->endpoints[index]; }
  std::string pick(const Tried& tried = {}) {
    const auto picked = balancer_.pick("r", GetParam(), tried, now_);
    return picked ? picked->endpoint->target : "none";
  }
  std::vector<std::string> picks() {
    std::set<std::string> picked;
    for (int i = 0; i < 100; ++i) picked.insert(pick());
    return {picked.begin(), picked.end()};
  }

  iouring::TimePoint now_{1h};
  EndpointSet::Pointer set_;
  Balancer balancer_{1};
};

TEST_P(EndpointsOfBothFamilies, OneThatFindsNoRouteTakesAllOfIpv6BehindIpv4) {
  EXPECT_EQ(picks().size(), 3U);
  endpoint(1).ipv6->failed(now_, ENETUNREACH);
  EXPECT_EQ(picks(), std::vector<std::string>{"192.0.2.1:80"});
  EXPECT_FALSE(endpoint(2).up(now_));
  now_ += 1min;
  EXPECT_EQ(picks().size(), 3U) << "they are tried again";
}

// Even behind one whose connects fail.
TEST_P(EndpointsOfBothFamilies, Ipv6IsTheLastToBeTriedButIsTried) {
  endpoint(0).health->failed(now_, ECONNREFUSED);
  endpoint(1).ipv6->failed(now_, ENETUNREACH);
  EXPECT_EQ(picks(), std::vector<std::string>{"192.0.2.1:80"});
  EXPECT_TRUE(pick({endpoint(0).id}).starts_with("[2001:db8::")) << "for want of another";
}

TEST_P(EndpointsOfBothFamilies, ASuccessBringsAllBack) {
  endpoint(1).ipv6->failed(now_, ENETUNREACH);
  EXPECT_EQ(picks().size(), 1U);
  endpoint(2).ipv6->succeeded(now_);
  EXPECT_EQ(picks().size(), 3U);
}

TEST_P(EndpointsOfBothFamilies, NewEndpointsNeedNotLearnIt) {
  endpoint(1).ipv6->failed(now_, ENETUNREACH);
  renew(R"("192.0.2.1:80", "[2001:db8::3]:80")");
  EXPECT_EQ(picks(), std::vector<std::string>{"192.0.2.1:80"});
}

INSTANTIATE_TEST_SUITE_P(Each, EndpointsOfBothFamilies,
                         testing::Values(Balance::kRoundRobin, Balance::kLeastConnections,
                                         Balance::kPowerOfTwo),
                         [](const auto& each) { return std::to_string(each.index); });

}  // namespace
}  // namespace sallyport::gateway
