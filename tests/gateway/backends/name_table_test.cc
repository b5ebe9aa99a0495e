#include "gateway/backends/name_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using Line = NameTable::Line;
using TimePoint = NameTable::TimePoint;

class NameTableTest : public testing::Test {
 protected:
  void found(const std::string& host, std::initializer_list<std::string_view> addresses,
             std::chrono::seconds ttl = 60s) {
    FoundHost host_found{.addresses = {}, .ttl = ttl};
    for (const auto text : addresses)
      host_found.addresses.push_back(*iouring::SocketAddress::parse(text));
    names_.store(host, std::move(host_found), now_);
  }
  void failed(const std::string& host, const std::string& error) {
    names_.store(host, std::unexpected(error), now_);
  }
  // A table without chance would be another table: what it adds is at most a tenth.
  void expect_due_in(std::chrono::milliseconds pause, Line line = Line::kDue) {
    EXPECT_GE(names_.next(line), now_ + pause);
    EXPECT_LE(names_.next(line), now_ + pause + pause / 10);
  }
  std::string take(Line line = Line::kDue) { return names_.take(line, now_); }
  std::string shown(const std::string& host) {
    const auto current = names_.current();
    const auto entry = current->find(host);
    if (entry == current->end()) return "absent";
    std::string text;
    for (const auto& address : entry->second.addresses) text += address.to_string() + " ";
    return text + entry->second.error;
  }

  TimePoint now_{1h};
  NameTable names_{LookupTimes{}, 1};
};

TEST_F(NameTableTest, NewNamesAreDueAtOnceAndOnce) {
  EXPECT_EQ(names_.next(Line::kDue), TimePoint::max());
  EXPECT_EQ(take(), "");
  EXPECT_TRUE(names_.all_looked_up());
  names_.watch({"a", "b"});
  EXPECT_FALSE(names_.all_looked_up());
  EXPECT_EQ(take(), "a");
  EXPECT_EQ(take(), "b");
  EXPECT_EQ(take(), "") << "they are under way";
  found("a", {"10.0.0.1:0"});
  EXPECT_FALSE(names_.all_looked_up());
  failed("b", "no answer");
  EXPECT_TRUE(names_.all_looked_up());
}

TEST_F(NameTableTest, NewNamesComeBeforeThoseThatAreDueAgain) {
  names_.watch({"a"});
  take();
  found("a", {"10.0.0.1:0"}, 1s);
  now_ += 1h;
  names_.watch({"a", "b"});
  EXPECT_EQ(take(), "b");
  EXPECT_EQ(take(), "a");
}

TEST_F(NameTableTest, AddressesAreSortedAndEachIsThereOnce) {
  names_.watch({"a"});
  EXPECT_EQ(shown("a"), "absent");
  found("a", {"[::1]:0", "10.0.0.2:0", "10.0.0.1:0", "10.0.0.2:0"});
  EXPECT_EQ(shown("a"), "10.0.0.1:0 10.0.0.2:0 [::1]:0 ");
}

TEST_F(NameTableTest, ANameIsDueAgainWhenItsTtlEnds) {
  names_.watch({"a"});
  take();
  found("a", {"10.0.0.1:0"}, 60s);
  expect_due_in(60s);
  now_ += 59s;
  EXPECT_EQ(take(), "");
  now_ += 7s;
  EXPECT_EQ(take(), "a");
  found("a", {"10.0.0.1:0"}, 5s);
  expect_due_in(5s);
}

TEST_F(NameTableTest, NamesThatWereLookedUpTogetherDriftApart) {
  std::set<std::string> hosts;
  for (int i = 0; i < 1'000; ++i) hosts.insert("host" + std::to_string(i));
  names_.watch(hosts);
  for (const std::string& host : hosts) found(host, {"10.0.0.1:0"}, 300s);
  now_ += 300s;
  std::size_t most = 0;
  for (std::size_t all = 0; all < hosts.size(); now_ += 1s) {
    std::size_t due = 0;
    while (!take().empty()) ++due;
    most = std::max(most, due);
    all += due;
  }
  EXPECT_LT(most, 100U) << "of 33 a second, evenly";
}

TEST_F(NameTableTest, AFailureKeepsTheLastGoodAddresses) {
  names_.watch({"a"});
  found("a", {"10.0.0.1:0"});
  failed("a", "no answer");
  EXPECT_EQ(shown("a"), "10.0.0.1:0 no answer");
  failed("a", "unknown");
  EXPECT_EQ(shown("a"), "10.0.0.1:0 unknown");
  found("a", {"10.0.0.2:0"});
  EXPECT_EQ(shown("a"), "10.0.0.2:0 ");
}

TEST_F(NameTableTest, WhatFailsIsTriedAgainSoonAndThenMoreSeldom) {
  names_.watch({"a"});
  take();
  for (const std::chrono::milliseconds pause : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    failed("a", "no answer");
    expect_due_in(pause, Line::kRetry);
    EXPECT_EQ(names_.next(Line::kDue), TimePoint::max()) << "in one line at a time";
    EXPECT_TRUE(names_.failing("a"));
    now_ += pause + pause / 10;
    EXPECT_EQ(take(Line::kRetry), "a");
  }
  found("a", {"10.0.0.1:0"});
  EXPECT_FALSE(names_.failing("a"));
  EXPECT_EQ(names_.next(Line::kRetry), TimePoint::max());
  failed("a", "no answer");
  expect_due_in(1s, Line::kRetry);
}

TEST_F(NameTableTest, WhatFailsIsTriedAtOnceWhenThereIsReasonTo) {
  names_.watch({"a", "b", "c"});
  for (int i = 0; i < 3; ++i) take();
  failed("a", "no answer");
  found("b", {"10.0.0.1:0"});
  names_.retry_now(now_);
  names_.put_back("c", now_);
  names_.put_back("unknown", now_);
  EXPECT_EQ(take(Line::kRetry), "a");
  EXPECT_EQ(take(), "c");
  EXPECT_EQ(take(), "");
  failed("a", "no answer");
  expect_due_in(2s, Line::kRetry);
}

TEST_F(NameTableTest, OnlyChangesAreChanges) {
  names_.watch({"a"});
  found("a", {"10.0.0.1:0", "10.0.0.2:0"});
  EXPECT_TRUE(names_.changed());
  names_.take_change();
  const auto before = names_.current();
  found("a", {"10.0.0.2:0", "10.0.0.1:0"});
  EXPECT_FALSE(names_.changed()) << "another order is none";
  EXPECT_EQ(names_.current(), before);
  found("a", {"10.0.0.2:0"});
  EXPECT_TRUE(names_.changed());
  names_.take_change();
  failed("a", "no answer");
  EXPECT_TRUE(names_.changed());
  names_.take_change();
  failed("a", "no answer");
  EXPECT_FALSE(names_.changed());
}

TEST_F(NameTableTest, NamesThatAreNotWatchedAnyMoreAreForgotten) {
  names_.watch({"a", "b", "c"});
  found("a", {"10.0.0.1:0"});
  failed("b", "no answer");
  names_.watch({});
  EXPECT_TRUE(names_.all_looked_up());
  EXPECT_TRUE(names_.current()->empty());
  for (const Line line : {Line::kDue, Line::kRetry}) EXPECT_EQ(names_.next(line), TimePoint::max());
  found("a", {"10.0.0.1:0"});
  EXPECT_EQ(shown("a"), "absent") << "its lookup was under way";
  names_.watch({"a"});
  EXPECT_FALSE(names_.all_looked_up());
  EXPECT_EQ(take(), "a");
}

// Its lookup is under way while it leaves and comes back: the answer is as good as another's.
TEST_F(NameTableTest, AnAnswerToAnEarlierLookupCounts) {
  names_.watch({"a"});
  take();
  names_.watch({});
  names_.watch({"a"});
  EXPECT_EQ(take(), "a");
  found("a", {"10.0.0.1:0"}, 60s);
  found("a", {"10.0.0.2:0"}, 60s);
  EXPECT_EQ(shown("a"), "10.0.0.2:0 ");
  now_ += 1h;
  EXPECT_EQ(take(), "a");
  EXPECT_EQ(take(), "");
}

TEST_F(NameTableTest, ThatAFamilyIsGoneIsBelievedTheSecondTime) {
  names_.watch({"a"});
  take();
  found("a", {"10.0.0.1:0", "[2001:db8::1]:0"});
  found("a", {"10.0.0.2:0"});
  EXPECT_EQ(shown("a"), "10.0.0.1:0 [2001:db8::1]:0 ");
  expect_due_in(1s);
  found("a", {"10.0.0.2:0"});
  EXPECT_EQ(shown("a"), "10.0.0.2:0 ");
  expect_due_in(60s);
}

TEST_F(NameTableTest, AFamilyThatWasMissingOnceIsNotLost) {
  names_.watch({"a"});
  found("a", {"10.0.0.1:0", "[2001:db8::1]:0"});
  for (int i = 0; i < 3; ++i) {
    found("a", {"[2001:db8::1]:0"});
    found("a", {"10.0.0.1:0", "[2001:db8::1]:0"});
    EXPECT_EQ(shown("a"), "10.0.0.1:0 [2001:db8::1]:0 ");
  }
}

TEST_F(NameTableTest, AFailureBetweenDoesNotMakeItBelieved) {
  names_.watch({"a"});
  found("a", {"10.0.0.1:0", "[2001:db8::1]:0"});
  found("a", {"10.0.0.1:0"});
  failed("a", "no answer");
  found("a", {"10.0.0.1:0"});
  EXPECT_EQ(shown("a"), "10.0.0.1:0 [2001:db8::1]:0 ");
}

}  // namespace
}  // namespace sallyport::gateway
