#include "gateway/connection/peer_table.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<const ktls::PeerTrust> peer(const std::string& name,
                                            std::chrono::seconds expires_in = 1h) {
  return std::make_shared<const ktls::PeerTrust>(
      ktls::PeerTrust{.identity = {.spiffe = "spiffe://example.org/" + name, .dns = {}},
                      .links = {{.serial = name}},
                      .not_after = std::chrono::sys_seconds(expires_in)});
}

std::string text(const PeerFacts& facts) {
  return facts.trust.identity.spiffe.substr(std::string("spiffe://example.org/").size()) + " " +
         facts.route + " " + facts.listener + " " + std::to_string(facts.connections);
}

class Peers : public ::testing::Test {
 protected:
  void SetUp() override { now_ = PeerTable::Time(1'000h); }

  PeerTable::Handle enter(const std::string& name, std::string_view route = "orders",
                          std::string_view listener = "a:1") {
    return table_.enter(peer(name), route, listener);
  }
  std::vector<std::string> list(WhichPeers which) const {
    std::vector<std::string> result;
    for (const PeerFacts& each : table_.describe(0, 1'000'000, which, 1h).peers)
      result.push_back(text(each));
    return result;
  }
  std::vector<std::string> connected() const { return list(WhichPeers::kConnected); }
  std::vector<std::string> recent() const { return list(WhichPeers::kRecent); }

  static inline PeerTable::Time now_;
  metrics::ShardMetrics metrics_{0, {}};
  PeerTable table_{metrics_, [] { return now_; }};
};

using Lines = std::vector<std::string>;

TEST_F(Peers, CountsConnectionsOfEqualTrustRouteAndListenerTogether) {
  const auto one = enter("web");
  const auto equal = enter("web");
  const auto other_peer = enter("api");
  const auto other_route = enter("web", "billing");
  const auto other_listener = enter("web", "orders", "b:1");

  EXPECT_EQ(connected(), (Lines{"web orders a:1 2", "api orders a:1 1", "web billing a:1 1",
                                "web orders b:1 1"}));
  EXPECT_EQ(&*one, &*equal);
}

TEST_F(Peers, KeepsAnEntryForAnHourAfterItsLastConnection) {
  std::optional handle(enter("web"));
  now_ += 5min;
  handle.reset();

  EXPECT_EQ(connected(), Lines{});
  now_ += 1h - 1ms;
  ASSERT_EQ(recent(), Lines{"web orders a:1 0"});
  EXPECT_EQ(table_.describe(0, 1, WhichPeers::kRecent, 1h).peers[0].last_seen,
            PeerTable::Time(1'000h + 5min));
  now_ += 1ms;
  EXPECT_EQ(recent(), Lines{});
  table_.forget_old();
  EXPECT_EQ(table_.size(), 0U);
}

TEST_F(Peers, SeesAConnectionThatLivesNow) {
  const auto handle = enter("web");
  now_ += 3h;
  EXPECT_EQ(table_.describe(0, 1, WhichPeers::kRecent, 1h).peers.at(0).last_seen, now_);
}

TEST_F(Peers, KeepsTheEntryOfAPeerThatComesBack) {
  enter("web");
  now_ += 59min;
  auto again = enter("web");
  now_ += 59min;
  EXPECT_EQ(connected(), Lines{"web orders a:1 1"});
  EXPECT_EQ(table_.size(), 1U);
}

TEST_F(Peers, OldEntriesLeaveWhenOthersEnter) {
  enter("old");
  enter("older");
  now_ += 1h;
  const auto handle = enter("web");
  EXPECT_EQ(table_.size(), 1U);
}

TEST_F(Peers, RemembersNoMoreThanSoManyThatHaveGone) {
  const auto stays = enter("stays");
  for (std::size_t i = 0; i < PeerTable::kMostGone + 10; ++i) enter(std::to_string(i));
  EXPECT_LE(table_.size(), PeerTable::kMostGone + 2);
  EXPECT_EQ(connected(), Lines{"stays orders a:1 1"});
}

TEST_F(Peers, KnowsNothingOfAPeerThatIsNotLetIn) {
  const PeerTable::Handle handle(peer("stranger"));
  EXPECT_EQ(handle->identity.spiffe, "spiffe://example.org/stranger");
  EXPECT_EQ(recent(), Lines{});
  EXPECT_FALSE(PeerTable::Handle());
}

TEST_F(Peers, AConnectionIsCountedOnceWhereverItsHandleMoves) {
  PeerTable::Handle first = enter("web");
  PeerTable::Handle second(std::move(first));
  PeerTable::Handle third;
  third = std::move(second);
  EXPECT_EQ(connected(), Lines{"web orders a:1 1"});
  third = PeerTable::Handle();
  EXPECT_EQ(connected(), Lines{});
  EXPECT_EQ(sizeof(PeerTable::Handle), sizeof(void*));
}

TEST_F(Peers, AreDescribedInSlicesThatFollowEachOther) {
  std::vector<PeerTable::Handle> handles;
  for (const char* name : {"a", "b", "c", "d", "e"}) handles.push_back(enter(name));
  handles.erase(handles.begin() + 1);

  Lines found;
  std::vector<std::size_t> sizes;
  std::optional<PeerCursor> from = PeerCursor{};
  while (from) {
    const PeerSlice slice = table_.describe(from->after, 2, WhichPeers::kConnected, 1h);
    sizes.push_back(slice.peers.size());
    for (const PeerFacts& each : slice.peers) found.push_back(each.trust.links[0].serial);
    from = slice.next;
  }
  EXPECT_EQ(found, (Lines{"a", "c", "d", "e"}));
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, 2}));
}

TEST_F(Peers, HoldTheShardForNoLongerThanATurn) {
  std::vector<PeerTable::Handle> handles;
  for (const char* name : {"a", "b"}) handles.push_back(enter(name));
  const PeerSlice slice = table_.describe(0, 100, WhichPeers::kConnected, 0s);
  EXPECT_EQ(slice.peers.size(), 1U);
  EXPECT_TRUE(slice.next);
}

TEST_F(Peers, TellTheSoonestExpiryOfARouteWithConnections) {
  const metrics::Moment& orders = metrics_.peer_expiry("orders");
  const auto late = table_.enter(peer("late", 3h), "orders", "a:1");
  std::optional soon(table_.enter(peer("soon", 2h), "orders", "a:1"));
  const auto other_route = table_.enter(peer("sooner", 1h), "billing", "a:1");

  EXPECT_EQ(orders.value(), std::chrono::sys_seconds(2h));
  soon.reset();
  EXPECT_EQ(orders.value(), std::chrono::sys_seconds(3h));
  EXPECT_EQ(metrics_.sample().peer_expiries.size(), 2U);
  EXPECT_EQ(metrics_.peer_expiry("empty").value(), std::nullopt);
}

}  // namespace
}  // namespace sallyport::gateway
