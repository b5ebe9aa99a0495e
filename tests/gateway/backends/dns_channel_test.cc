#include "gateway/backends/dns_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/name_server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using test::NameServer;
using testing::ElementsAre;
using testing::Not;

class DnsChannelTest : public testing::Test {
 protected:
  // Silence is expected soon, or else never.
  static constexpr auto kImpatient = 20ms;

  void open(std::chrono::milliseconds timeout = test::kPatience,
            const std::string& resolv_conf = "nameserver 127.0.0.1\nsearch search.test\n",
            int tries = 2) {
    auto opened = DnsChannel::open({.resolv_conf = dir_.write("resolv.conf", resolv_conf),
                                    .port = server_.port(),
                                    .timeout = timeout,
                                    .tries = tries});
    ASSERT_TRUE(opened) << opened.error();
    channel_.emplace(*std::move(opened));
  }

  std::expected<FoundHost, std::string> look_up(const std::string& host, int family = AF_UNSPEC) {
    if (!channel_) open();
    channel_->begin(host, family);
    while (channel_->count_under_way() > 0) {
      std::vector<pollfd> polled;
      channel_->add_sockets(polled);
      ::poll(polled.data(), polled.size(), static_cast<int>(channel_->timeout(1h).count()));
      channel_->process(polled);
    }
    auto finished = channel_->take_finished();
    EXPECT_EQ(finished.size(), 1U);
    EXPECT_EQ(finished.at(0).host, host);
    return std::move(finished.at(0).outcome);
  }
  // Sorted, as text; or the error.
  std::vector<std::string> addresses(const std::string& host, int family = AF_UNSPEC) {
    const auto outcome = look_up(host, family);
    if (!outcome) return {"error: " + outcome.error()};
    std::vector<std::string> text;
    for (const auto& address : outcome->addresses) text.push_back(address.to_string());
    std::ranges::sort(text);
    return text;
  }
  std::chrono::seconds ttl(const std::string& host) {
    const auto outcome = look_up(host);
    return outcome ? outcome->ttl : -1s;
  }

  NameServer server_;
  test::TempDir dir_;
  std::optional<DnsChannel> channel_;
};

TEST_F(DnsChannelTest, FindsTheAddressesOfBothFamilies) {
  server_.set("a.test", {"10.0.0.1", "10.0.0.2", "2001:db8::1"});
  EXPECT_THAT(addresses("a.test"), ElementsAre("10.0.0.1:0", "10.0.0.2:0", "[2001:db8::1]:0"));
  EXPECT_EQ(server_.asked("a.test"), 2);
}

TEST_F(DnsChannelTest, AsksForOneFamilyWhereThatIsWanted) {
  server_.set("a.test", {"10.0.0.1", "2001:db8::1"});
  EXPECT_THAT(addresses("a.test", AF_INET), ElementsAre("10.0.0.1:0"));
  EXPECT_THAT(addresses("a.test", AF_INET6), ElementsAre("[2001:db8::1]:0"));
  EXPECT_EQ(server_.asked("a.test"), 2);
}

TEST_F(DnsChannelTest, OneFamilyIsEnough) {
  server_.set("four.test", {"10.0.0.1"});
  server_.set("six.test", {"2001:db8::1"});
  EXPECT_THAT(addresses("four.test"), ElementsAre("10.0.0.1:0"));
  EXPECT_THAT(addresses("six.test"), ElementsAre("[2001:db8::1]:0"));
}

TEST_F(DnsChannelTest, TheShortestTtlCountsThatOfAnAliasToo) {
  server_.set("a.test", {"10.0.0.1", "2001:db8::1"}, 300);
  server_.set("alias.test", {"a.test"}, 7);
  server_.set("aliased.test", {"alias.test"}, 3600);
  EXPECT_EQ(ttl("a.test"), 300s);
  EXPECT_EQ(ttl("alias.test"), 7s);
  EXPECT_EQ(ttl("aliased.test"), 7s);
  EXPECT_THAT(addresses("aliased.test"), ElementsAre("10.0.0.1:0", "[2001:db8::1]:0"));
}

TEST_F(DnsChannelTest, ATtlIsNeverNegative) {
  server_.set("zero.test", {"10.0.0.1"}, 0);
  server_.set("huge.test", {"10.0.0.1"}, 0x80000001U);
  EXPECT_EQ(ttl("zero.test"), 0s);
  // c-ares 1.18 has what RFC 2181 8 says, 1.34 the greatest that is less.
  EXPECT_THAT(ttl("huge.test"), testing::AnyOf(0s, 0x7fffffffs));
}

TEST_F(DnsChannelTest, ThatThereIsNoAddressIsAnError) {
  server_.set("empty.test", {});
  server_.set("loop.test", {"loop2.test"});
  for (const char* const host : {"unknown.test", "empty.test", "loop.test"}) {
    const auto outcome = look_up(host);
    ASSERT_FALSE(outcome) << host;
    EXPECT_THAT(outcome.error(), Not(testing::IsEmpty()));
  }
}

// A filter's answer for a blocked name would reach this machine.
TEST_F(DnsChannelTest, AddressesThatNameNoHostArePassedOver) {
  server_.set("some.test",
              {"0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.1", "::", "ff02::1"});
  server_.set("blocked.test", {"0.0.0.0", "::"});
  EXPECT_THAT(addresses("some.test"), ElementsAre("10.0.0.1:0"));
  EXPECT_FALSE(look_up("blocked.test"));
}

TEST_F(DnsChannelTest, SearchesTheDomainsOfResolvConf) {
  open(test::kPatience, "nameserver 127.0.0.1\nsearch one.test two.test\noptions ndots:2\n");
  server_.set("db.two.test", {"10.0.0.1"});
  server_.set("db.three.test", {"10.0.0.3"});
  EXPECT_THAT(addresses("db"), ElementsAre("10.0.0.1:0"));
  EXPECT_THAT(addresses("db.three.test"), ElementsAre("10.0.0.3:0"));
  EXPECT_EQ(server_.asked("db.three.test.one.test"), 0) << "it has two dots";
  EXPECT_THAT(addresses("db.three"), ElementsAre(testing::StartsWith("error: ")));
  EXPECT_EQ(server_.asked("db.three.one.test"), 2) << "it has one";
}

// No server has a say in it, and /etc/hosts comes first.
TEST_F(DnsChannelTest, TheHostsFileComesBeforeTheServers) {
  server_.set("localhost", {"10.6.6.6"}, 60);
  const auto outcome = look_up("localhost");
  ASSERT_TRUE(outcome) << outcome.error();
  for (const auto& address : outcome->addresses)
    EXPECT_TRUE(address.is_loopback()) << address.to_string();
  EXPECT_EQ(outcome->ttl, 0s);
  EXPECT_EQ(server_.asked("localhost"), 0);
}

TEST_F(DnsChannelTest, AServerThatFailsIsAnError) {
  server_.set("a.test", {"10.0.0.1"});
  for (const int rcode : {NameServer::kServFail, NameServer::kRefused, NameServer::kFormErr}) {
    server_.answer_by(
        [=](const NameServer::Query& query) { return std::vector{query.reply({}, rcode)}; });
    EXPECT_FALSE(look_up("a.test")) << rcode;
  }
  server_.answer_by(nullptr);
  EXPECT_TRUE(look_up("a.test"));
}

TEST_F(DnsChannelTest, TheNextServerIsAskedWhereOneFails) {
  // Each round is twice as patient as the one before: one of them is patient enough.
  open(kImpatient, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n", 12);
  NameServer second("127.0.0.2:" + std::to_string(server_.port()));
  second.set("a.test", {"10.0.0.1"});
  server_.answer_by([](const NameServer::Query& query) {
    return std::vector{query.reply({}, NameServer::kServFail)};
  });
  EXPECT_THAT(addresses("a.test"), ElementsAre("10.0.0.1:0"));
  server_.answer_by([](const NameServer::Query&) { return std::vector<std::string>(); });
  EXPECT_THAT(addresses("a.test"), ElementsAre("10.0.0.1:0"));
}

TEST_F(DnsChannelTest, SilenceEndsAfterTheTriesOfEachServer) {
  open(kImpatient);
  server_.answer_by([](const NameServer::Query&) { return std::vector<std::string>(); });
  EXPECT_FALSE(look_up("a.test", AF_INET));
  EXPECT_EQ(server_.asked("a.test"), 2);
}

TEST_F(DnsChannelTest, NobodyAtThePortIsAnErrorWithoutAWait) {
  const std::string resolv_conf = dir_.write("resolv.conf", "nameserver 127.0.0.1\n");
  const test::Fd taken = test::listen_on("127.0.0.1:0", -1);  // TCP: so nobody has it for UDP
  const std::string address = test::local_address(taken).to_string();
  auto opened = DnsChannel::open(
      {.resolv_conf = resolv_conf,
       .port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))),
       .timeout = 1h});
  ASSERT_TRUE(opened);
  channel_.emplace(*std::move(opened));
  EXPECT_FALSE(look_up("a.test", AF_INET));
}

TEST_F(DnsChannelTest, WhatDoesNotFitIntoADatagramComesByTcp) {
  std::vector<std::string> many;
  for (int i = 0; i < 300; ++i)
    many.push_back("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1));
  server_.set("many.test", many, 30);
  server_.answer_by([this](const NameServer::Query& query) {
    if (query.tcp) return std::vector{server_.answer_from_records(query)};
    return std::vector{query.truncated({{query.name, 30, "10.6.6.6"}})};
  });
  const auto outcome = look_up("many.test");
  ASSERT_TRUE(outcome) << outcome.error();
  EXPECT_EQ(outcome->addresses.size(), many.size());
  EXPECT_EQ(outcome->ttl, 30s);
  EXPECT_EQ(server_.asked_by_tcp(), 2);
}

// Whoever can send to the port of the question cannot see it.
TEST_F(DnsChannelTest, WhatIsNoAnswerToTheQuestionIsPassedOver) {
  server_.set("a.test", {"10.0.0.1"});
  server_.answer_by([this](const NameServer::Query& query) {
    std::string another_id = query.reply({{query.name, 60, "10.6.6.6"}});
    another_id[0] = static_cast<char>(another_id[0] ^ 1);
    std::string another_name = query.reply({{"b.test", 60, "10.6.6.6"}});
    another_name[another_name.find("\1a\4test") + 1] = 'b';
    return std::vector{another_id, another_name, server_.answer_from_records(query)};
  });
  EXPECT_THAT(addresses("a.test"), ElementsAre("10.0.0.1:0"));
}

TEST_F(DnsChannelTest, AnAnswerThatIsCutIsAnError) {
  server_.answer_by([](const NameServer::Query& query) {
    const std::string whole = query.reply({{query.name, 60, "10.0.0.1"}});
    return std::vector{whole.substr(0, whole.size() - 3)};
  });
  EXPECT_FALSE(look_up("a.test", AF_INET));
}

TEST_F(DnsChannelTest, WhatIsNoMessageIsAnErrorOrNothing) {
  open(kImpatient);
  for (const char* const garbage : {"", "x", "no message at all, but as long as one"}) {
    server_.answer_by([=](const NameServer::Query&) { return std::vector<std::string>{garbage}; });
    EXPECT_FALSE(look_up("a.test", AF_INET));
  }
}

// At whatever byte an answer is broken: an error or addresses, never more.
TEST_F(DnsChannelTest, BrokenAnswersBreakNothing) {
  server_.set("a.test", {"alias.test"});
  server_.set("alias.test", {"10.0.0.1", "10.0.0.2"});
  open(kImpatient);
  for (std::size_t at = 2; at < 100; at += 3) {
    server_.answer_by([this, at](const NameServer::Query& query) {
      std::string wire = server_.answer_from_records(query);
      if (at < wire.size()) wire[at] = static_cast<char>(0xc0 + at);
      return std::vector{wire};
    });
    const auto outcome = look_up("a.test", AF_INET);
    EXPECT_TRUE(!outcome || !outcome->addresses.empty()) << at;
  }
  server_.answer_by(nullptr);
  open();
  EXPECT_EQ(addresses("a.test").size(), 2U);
}

TEST_F(DnsChannelTest, WhatIsUnderWayIsGivenUpAtItsEnd) {
  open(1h);
  server_.answer_by([](const NameServer::Query&) { return std::vector<std::string>(); });
  channel_->begin("a.test", AF_UNSPEC);
  channel_->begin("b.test", AF_UNSPEC);
  EXPECT_THAT(channel_->under_way(), ElementsAre("a.test", "b.test"));
  EXPECT_TRUE(channel_->take_finished().empty());
  channel_.reset();
}

TEST_F(DnsChannelTest, AResolvConfThatIsMissingIsNoError) {
  EXPECT_TRUE(DnsChannel::open({.resolv_conf = (dir_ / "missing").string()}));
}

}  // namespace
}  // namespace sallyport::gateway
