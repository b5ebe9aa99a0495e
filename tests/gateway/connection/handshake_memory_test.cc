#include "gateway/connection/handshake_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace sallyport::gateway {
namespace {

using iouring::TimePoint;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kHere = 1;
constexpr std::uint64_t kThere = 2;

class Memory : public ::testing::Test {
 protected:
  struct Client final : HandshakeMemory::Holder {
    Client(Memory& its_test, std::string its_name) : test(its_test), name(std::move(its_name)) {}
    void on_shed() noexcept override { test.shed.push_back(name); }
    Memory& test;
    std::string name;
  };

  /// A client that waits from now on, holding ten bytes.
  Client& begin(const std::string& name, std::uint64_t network) {
    Client& client = clients.emplace_back(*this, name);
    client.join(memory, network, now);
    client.set_waiting(10, now);
    return client;
  }
  void pass(milliseconds time) { now += time; }

  HandshakeMemory memory{40};
  TimePoint now{};
  std::vector<std::string> shed;
  std::deque<Client> clients;
};

TEST_F(Memory, ShedsNoHandshakeWithinItsLimit) {
  for (const char* name : {"a", "b", "c", "d"}) begin(name, kHere);
  EXPECT_THAT(shed, IsEmpty());
  EXPECT_EQ(memory.held(), 40U);
}

TEST_F(Memory, ShedsTheLongestWaiterOfTheNetworkWithMostWaiters) {
  begin("first of there", kThere);
  begin("first of here", kHere);
  begin("second of here", kHere);
  begin("second of there", kThere);
  pass(HandshakeMemory::kGrace);
  begin("third of here", kHere);
  EXPECT_THAT(shed, ElementsAre("first of here"));
  EXPECT_EQ(memory.held(), 40U);
}

// One waiter on each of many addresses: the first to come is shed, whatever the address.
TEST_F(Memory, ShedsTheOldestOfNetworksWithEquallyManyWaiters) {
  for (const std::uint64_t network : {5U, 4U, 6U}) {
    begin(std::to_string(network), network);
    pass(milliseconds(1));
  }
  pass(HandshakeMemory::kGrace);
  begin("1", 1);
  begin("2", 2);
  begin("9", 9);
  EXPECT_THAT(shed, ElementsAre("5", "4"));
}

TEST_F(Memory, ShedsAsManyAsItTakes) {
  for (const char* name : {"a", "b", "c", "d"}) begin(name, kHere);
  begin("e", kThere).set_waiting(35, now);
  EXPECT_THAT(shed, ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(memory.held(), 35U);
}

TEST_F(Memory, ShedsAHandshakeThatIsTooLargeByItself) {
  begin("a", kHere).set_waiting(41, now);
  EXPECT_THAT(shed, ElementsAre("a"));
  clients.front().set_waiting(1, now);
  clients.front().set_working();
  EXPECT_EQ(memory.held(), 0U) << "it has left";
}

TEST_F(Memory, SparesTheYoungWhileThereAreOlderOnes) {
  begin("old", kThere);
  pass(HandshakeMemory::kGrace);
  for (const char* name : {"a", "b", "c", "d"}) begin(name, kHere);
  EXPECT_THAT(shed, ElementsAre("old"));
  begin("e", kHere);
  EXPECT_THAT(shed, ElementsAre("old", "a")) << "all are young";
}

// A client that sends a byte now and then is as old as its handshake, not as its last byte.
TEST_F(Memory, AgesThoseThatGoOnWaiting) {
  Client& dripping = begin("dripping", kHere);
  begin("silent", kThere);
  pass(HandshakeMemory::kGrace);
  dripping.set_working();
  dripping.set_waiting(10, now);
  begin("c", kHere);
  begin("d", kThere);
  begin("e", kHere);
  EXPECT_THAT(shed, ElementsAre("dripping"));
}

TEST_F(Memory, ShedsNoneThatHasWork) {
  Client& first = begin("first", kHere);
  begin("second", kHere);
  first.set_working();
  EXPECT_EQ(memory.held(), 10U);
  for (const char* name : {"c", "d"}) begin(name, kHere);
  EXPECT_THAT(shed, IsEmpty());
  first.set_waiting(20, now);
  EXPECT_THAT(shed, ElementsAre("first"));
}

TEST_F(Memory, ForgetsThoseThatEnd) {
  begin("a", kHere);
  begin("b", kThere).leave();
  clients.clear();
  EXPECT_EQ(memory.held(), 0U);
}

// Against the rule in its plainest form, over random arrivals, changes and ends.
TEST_F(Memory, ChoosesAsTheRuleSays) {
  struct Known {
    Client* client;
    std::uint64_t network;
    TimePoint since;
    std::size_t bytes;  // 0: it works
  };
  std::vector<Known> known;  // oldest first
  const auto held = [&] {
    std::size_t sum = 0;
    for (const Known& each : known) sum += each.bytes;
    return sum;
  };
  // The index of the one to shed: the longest waiter of a network, by their number, then by
  // address.
  const auto expected = [&] {
    std::map<std::uint64_t, std::size_t> waiting;
    for (const Known& each : known)
      if (each.bytes > 0) ++waiting[each.network];
    // Networks by number of waiters, by their oldest handshake, by address.
    const auto rank = [&](const Known& of) {
      const auto oldest = std::ranges::find(known, of.network, &Known::network);
      return std::tuple(-static_cast<long>(waiting[of.network]), oldest->since, of.network);
    };
    std::size_t best = known.size();
    for (const bool any_age : {false, true}) {
      for (std::size_t i = 0; i < known.size(); ++i) {
        const Known& each = known[i];
        if (each.bytes == 0) continue;
        const bool longest = std::none_of(
            known.begin(), known.begin() + static_cast<long>(i), [&](const Known& before) {
              return before.bytes > 0 && before.network == each.network;
            });
        if (!longest || (!any_age && now - each.since < HandshakeMemory::kGrace)) continue;
        if (best == known.size() || rank(each) < rank(known[best])) best = i;
      }
      if (best != known.size()) return best;
    }
    return best;
  };
  std::mt19937 random(1);
  const auto chance = [&](unsigned of) { return random() % of; };
  std::size_t sheds = 0;
  for (int step = 0; step < 20'000; ++step) {
    pass(milliseconds(chance(60)));
    std::size_t at = known.size();
    if (known.empty() || chance(2) == 0) {
      clients.emplace_back(*this, std::to_string(step));
      known.push_back({&clients.back(), 1 + chance(4), now, 0});
      known.back().client->join(memory, known.back().network, now);
    } else {
      at = chance(static_cast<unsigned>(known.size()));
    }
    Known& changed = known[at];
    if (chance(4) == 0) {
      changed.client->set_working();
      changed.bytes = 0;
      continue;
    }
    if (chance(8) == 0) {
      changed.client->leave();
      known.erase(known.begin() + static_cast<long>(at));
      continue;
    }
    changed.bytes = 1 + chance(12);
    std::vector<std::string> shed_by_rule;
    Client* const client = changed.client;
    const std::size_t bytes = changed.bytes;
    while (held() > 40) {
      const std::size_t out = expected();
      shed_by_rule.push_back(known[out].client->name);
      known.erase(known.begin() + static_cast<long>(out));
    }
    shed.clear();
    client->set_waiting(bytes, now);
    ASSERT_EQ(shed, shed_by_rule) << "step " << step;
    ASSERT_EQ(memory.held(), held());
    sheds += shed.size();
  }
  EXPECT_GT(sheds, 1'000U);
}

}  // namespace
}  // namespace sallyport::gateway
