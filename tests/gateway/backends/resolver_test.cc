#include "gateway/backends/resolver.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/support/name_server.h"
#include "tests/support/net.h"
#include "tests/support/network_namespace.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::kPatience;
using test::NameServer;

class ResolverTest : public testing::Test {
 protected:
  // As often as it can: what the test waits for comes soon.
  static constexpr LookupTimes kAtOnce{
      .shortest = 1ms, .longest = 1ms, .without_ttl = 1ms, .first_retry = 1ms, .last_retry = 1ms};

  Resolver::Options options(LookupTimes times = kAtOnce) {
    use_server("127.0.0.1");
    return {.dns = {.resolv_conf = (dir_ / "resolv.conf").string(),
                    .port = server_.port(),
                    .timeout = kPatience},
            .times = times,
            .batch = 0ms,
            .look_every = 1ms,
            .family = AF_UNSPEC};
  }
  void use_server(const std::string& address) {
    dir_.write("resolv.conf", "nameserver " + address + "\nsearch search.test\n");
  }
  void start(Resolver::Options given) {
    auto started = Resolver::start(std::move(given), [this] { ++announcements_; });
    ASSERT_TRUE(started) << started.error().name();
    resolver_ = *std::move(started);
  }
  void start(const LookupTimes& times = kAtOnce) { start(options(times)); }

  std::string shown(const std::string& name) const {
    const auto current = resolver_->current();
    const auto found = current->find(name);
    if (found == current->end()) return "absent";
    std::string result;
    for (const auto& address : found->second.addresses) result += address.to_string() + " ";
    return result + (found->second.error.empty() ? "" : "error");
  }
  bool shows(const std::string& name, const std::string& expected) const {
    return eventually([&] { return shown(name) == expected; });
  }
  // To the interface that a namespace of its own has.
  static void add_ipv4_address() {
    const test::Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo:1");
    const test::Address address = test::Address::parse("192.0.2.1:0");
    std::memcpy(&request.ifr_addr, address.get(), sizeof request.ifr_addr);
    if (::ioctl(any.get(), SIOCSIFADDR, &request) != 0)
      throw test::TestFailure(std::string("192.0.2.1: ") + std::strerror(errno));
  }
  static NameServer::Answer silence() {
    return [](const NameServer::Query&) { return std::vector<std::string>(); };
  }

  test::TempDir dir_;
  NameServer server_;
  std::atomic<int> announcements_ = 0;
  std::unique_ptr<Resolver> resolver_;
};

TEST_F(ResolverTest, LooksNamesUpAndAnnouncesThem) {
  server_.set("a.test", {"2001:db8::1", "10.0.0.2", "10.0.0.1"});
  start();
  EXPECT_EQ(shown("a.test"), "absent");
  EXPECT_TRUE(resolver_->wait_for_first(0ms)) << "nothing is watched";
  resolver_->watch({"a.test", "b.test"});
  ASSERT_TRUE(resolver_->wait_for_first(kPatience));
  EXPECT_EQ(shown("a.test"), "10.0.0.1:0 10.0.0.2:0 [2001:db8::1]:0 ");
  EXPECT_EQ(shown("b.test"), "error");
  EXPECT_TRUE(eventually([&] { return announcements_ >= 1; }));
}

TEST_F(ResolverTest, FollowsANameAndKeepsItsLastGoodAddresses) {
  server_.set("a.test", {"10.0.0.1"});
  start();
  resolver_->watch({"a.test"});
  EXPECT_TRUE(shows("a.test", "10.0.0.1:0 "));
  server_.set("a.test", {"10.0.0.2"});
  EXPECT_TRUE(shows("a.test", "10.0.0.2:0 "));
  for (const int rcode : {NameServer::kServFail, NameServer::kNxDomain}) {
    server_.answer_by(
        [=](const NameServer::Query& query) { return std::vector{query.reply({}, rcode)}; });
    EXPECT_TRUE(shows("a.test", "10.0.0.2:0 error"));
    server_.answer_by(nullptr);
    EXPECT_TRUE(shows("a.test", "10.0.0.2:0 "));
  }
  server_.set("a.test", {});
  EXPECT_TRUE(shows("a.test", "10.0.0.2:0 error"));
  server_.set("a.test", {"10.0.0.3"});
  EXPECT_TRUE(shows("a.test", "10.0.0.3:0 "));
}

TEST_F(ResolverTest, AsksAgainWhenTheTtlEnds) {
  server_.set("short.test", {"10.0.0.1"}, 1);
  server_.set("long.test", {"10.0.0.1"}, 3600);
  server_.set("none.test", {"10.0.0.1"}, 0);
  LookupTimes times;
  times.without_ttl = 1ms;
  start(times);
  resolver_->watch({"short.test", "long.test", "none.test"});
  EXPECT_TRUE(eventually(
      [&] { return server_.asked("short.test") >= 6 && server_.asked("none.test") >= 6; }));
  EXPECT_EQ(server_.asked("long.test"), 2);
}

TEST_F(ResolverTest, AnnouncesOnlyChanges) {
  server_.set("a.test", {"10.0.0.1", "10.0.0.2"});
  start();
  resolver_->watch({"a.test"});
  ASSERT_TRUE(eventually([&] { return announcements_ == 1; }));
  const auto before = resolver_->current();
  server_.set("a.test", {"10.0.0.2", "10.0.0.1"});
  const int asked = server_.asked("a.test");
  ASSERT_TRUE(eventually([&] { return server_.asked("a.test") > asked + 10; }));
  EXPECT_EQ(announcements_, 1) << "another order is no change";
  EXPECT_EQ(resolver_->current(), before);
}

TEST_F(ResolverTest, ForgetsNamesThatAreNotWatchedAnyMore) {
  server_.set("a.test", {"10.0.0.1"});
  server_.set("b.test", {"10.0.0.2"});
  start();
  resolver_->watch({"a.test", "b.test"});
  ASSERT_TRUE(resolver_->wait_for_first(kPatience));
  resolver_->watch({"b.test"});
  EXPECT_EQ(shown("a.test"), "absent");
  EXPECT_EQ(shown("b.test"), "10.0.0.2:0 ");
  resolver_->watch({"a.test", "b.test"});
  ASSERT_TRUE(resolver_->wait_for_first(kPatience));
  EXPECT_EQ(shown("a.test"), "10.0.0.1:0 ");
  resolver_->watch({});
  EXPECT_TRUE(resolver_->current()->empty());
}

TEST_F(ResolverTest, ASilentServerHoldsUpNoOtherNameAndNotTheEnd) {
  server_.set("good.test", {"10.0.0.1"});
  server_.answer_by([this](const NameServer::Query& query) {
    if (query.name != "good.test") return std::vector<std::string>();
    return std::vector{server_.answer_from_records(query)};
  });
  start();
  resolver_->watch({"silent.test"});
  EXPECT_TRUE(eventually([&] { return server_.asked("silent.test") == 2; }));
  resolver_->watch({"good.test", "silent.test"});
  EXPECT_TRUE(shows("good.test", "10.0.0.1:0 "));
  EXPECT_FALSE(resolver_->wait_for_first(0ms));
  resolver_.reset();
}

TEST_F(ResolverTest, AsksForSixtyFourNamesAtATime) {
  std::mutex mutex;
  std::set<std::string> asked;
  server_.answer_by([&](const NameServer::Query& query) {
    const std::lock_guard lock(mutex);
    asked.insert(query.name);
    return std::vector<std::string>();
  });
  const auto count = [&] {
    const std::lock_guard lock(mutex);
    return asked.size();
  };
  std::set<std::string> names;
  for (int i = 0; i < 200; ++i) names.insert("name" + std::to_string(i) + ".test");
  start();
  resolver_->watch(names);
  EXPECT_TRUE(eventually([&] { return count() == 64; }));
  // Others come when these have been given up.
  use_server("127.0.0.1\noptions ndots:1");
  EXPECT_TRUE(eventually([&] { return count() == 128; }));
  resolver_.reset();
  EXPECT_EQ(count() % 64, 0U);
}

// Each holds its place until its servers' patience is over, and then comes again.
TEST_F(ResolverTest, ManyNamesThatFailHoldUpNoOther) {
  std::set<std::string> names{"good.test"};
  for (int i = 0; i < 300; ++i) names.insert("name" + std::to_string(i) + ".test");
  std::atomic<bool> silent = false;
  server_.set("good.test", {"10.0.0.1"});
  server_.answer_by([&](const NameServer::Query& query) {
    if (query.name == "good.test") return std::vector{server_.answer_from_records(query)};
    if (silent) return std::vector<std::string>();
    return std::vector{query.reply({}, NameServer::kServFail)};
  });
  start();
  resolver_->watch(names);
  ASSERT_TRUE(resolver_->wait_for_first(kPatience));
  silent = true;
  const int asked = server_.asked("good.test");
  EXPECT_TRUE(eventually([&] { return server_.asked("good.test") > asked + 100; }));
}

TEST_F(ResolverTest, AChangedResolvConfIsReadAgain) {
  const NameServer::Answer silent = silence();
  NameServer second("127.0.0.2:" + std::to_string(server_.port()));
  second.set("a.test", {"10.0.0.2"});
  second.set("b.test", {"10.0.0.3"});
  server_.set("a.test", {"10.0.0.1"});
  start();
  resolver_->watch({"a.test"});
  EXPECT_TRUE(shows("a.test", "10.0.0.1:0 "));
  server_.answer_by(silent);
  resolver_->watch({"a.test", "b.test"});
  EXPECT_TRUE(eventually([&] { return server_.asked("b.test") > 0; }));
  use_server("127.0.0.2");
  EXPECT_TRUE(shows("a.test", "10.0.0.2:0 "));
  EXPECT_TRUE(shows("b.test", "10.0.0.3:0 ")) << "it waited for the old server";
}

TEST_F(ResolverTest, WhatFailedIsTriedAtOnceWithANewResolvConf) {
  NameServer second("127.0.0.2:" + std::to_string(server_.port()));
  second.set("a.test", {"10.0.0.2"});
  LookupTimes never;
  never.first_retry = never.last_retry = 1h;
  start(never);
  resolver_->watch({"a.test"});
  EXPECT_TRUE(shows("a.test", "error"));
  use_server("127.0.0.2");
  EXPECT_TRUE(shows("a.test", "10.0.0.2:0 "));
}

// Or each address of the other family would be an endpoint that no connect reaches.
TEST_F(ResolverTest, AsksForTheFamiliesThatThisHostHas) {
  const test::NetworkNamespace net;
  if (!net.missing().empty()) GTEST_SKIP() << net.missing();
  add_ipv4_address();
  NameServer server;
  server.set("a.test", {"10.0.0.1", "2001:db8::1"});
  Resolver::Options given = options();
  given.dns.port = server.port();
  given.family = std::nullopt;
  start(given);
  resolver_->watch({"a.test"});
  ASSERT_TRUE(resolver_->wait_for_first(kPatience));
  EXPECT_EQ(shown("a.test"), "10.0.0.1:0 ");
}

TEST_F(ResolverTest, KnowsLocalhostWithoutAServer) {
  Resolver::Options given = options();
  use_server("192.0.2.1");
  start(given);
  resolver_->watch({"localhost"});
  ASSERT_TRUE(resolver_->wait_for_first(kPatience));
  const auto current = resolver_->current();
  const Resolution& localhost = current->at("localhost");
  EXPECT_EQ(localhost.error, "");
  ASSERT_FALSE(localhost.addresses.empty());
  for (const auto& address : localhost.addresses) EXPECT_TRUE(address.is_loopback());
}

}  // namespace
}  // namespace sallyport::gateway
