#include "gateway/observe/peers_json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "ktls/base/hex.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

PeerFacts peer(const std::string& name, std::chrono::seconds expires_at = 1'000s) {
  PeerFacts facts;
  facts.trust.identity.spiffe = "spiffe://example.org/" + name;
  facts.trust.identity.dns = {"a.b", "c.d"};
  facts.trust.anchor_name.fill(0x44);
  facts.trust.anchor_key.fill(0xab);
  facts.trust.links = {{.serial = std::string("\0\xff", 2), .crl_key = ktls::Sha256{}},
                       {.serial = "\x02", .ca = true, .crl_points = {{}, {}}}};
  facts.trust.links[0].issuer.fill(0x11);
  facts.trust.links[0].crl_key->fill(0x22);
  facts.trust.links[1].issuer.fill(0x33);
  facts.trust.not_after = std::chrono::sys_seconds(expires_at);
  facts.trust.leaf = {.subject = "CN=web", .issuer = "CN=\xe2\x80\xae\"Sub", .not_after = {}};
  facts.route = "orders";
  facts.listener = "127.0.0.1:8443";
  facts.connections = 3;
  facts.last_seen = std::chrono::sys_seconds(500s);
  return facts;
}

json list(const std::vector<PeerFacts>& peers) {
  const auto page = peer_list();
  for (const PeerFacts& each : peers) page->add(each);
  return json::parse(page->finish({}));
}

TEST(TrustPage, ShowsEveryFactExactly) {
  const auto page =
      trust_page({.program = "0.1.0", .instance = "00ff", .generation = 7, .shards = 1});
  const PeerFacts facts = peer("web");
  page->add(facts);
  const std::string text = page->finish(PeerCursor{.shard = 2, .after = 5});
  const json document = json::parse(text);

  EXPECT_EQ(document["version"], 2);
  EXPECT_EQ(document["instance"], "00ff");
  EXPECT_EQ(document["issuers"], json::array());
  EXPECT_EQ(document["sallyport"], "0.1.0");
  EXPECT_EQ(document["generation"], 7);
  EXPECT_EQ(document["next"], to_number({.shard = 2, .after = 5}));
  const json& shown = document["peers"][0];
  EXPECT_EQ(shown["identity"],
            json({{"spiffe", "spiffe://example.org/web"}, {"dns", {"a.b", "c.d"}}}));
  EXPECT_EQ(shown["route"], "orders");
  EXPECT_EQ(shown["listener"], "127.0.0.1:8443");
  EXPECT_EQ(shown["anchor"], json({{"name", ktls::encode_hex(facts.trust.anchor_name)},
                                   {"key", ktls::encode_hex(facts.trust.anchor_key)}}));
  EXPECT_EQ(shown["chain"][0], json({{"issuer", ktls::encode_hex(facts.trust.links[0].issuer)},
                                     {"key", ktls::encode_hex(*facts.trust.links[0].crl_key)},
                                     {"serial", "00ff"},
                                     {"ca", false},
                                     {"signs_crls", true},
                                     {"crl_points", json::array()}}));
  EXPECT_EQ(shown["chain"][1]["key"], nullptr);
  EXPECT_EQ(shown["chain"][1]["signs_crls"], false);
  EXPECT_EQ(shown["chain"][1]["ca"], true);
  EXPECT_EQ(shown["chain"][1]["crl_points"].size(), 2U);
  EXPECT_EQ(shown["not_after"], 1'000);
  EXPECT_EQ(shown["leaf"],
            json({{"subject", "CN=web"}, {"issuer", facts.trust.leaf.issuer}, {"not_after", 0}}));
  EXPECT_EQ(shown["connections"], 3);
  EXPECT_EQ(text.find("\xe2\x80\xae"), std::string::npos) << "escaped, and the same once read";
}

TEST(TrustPage, NamesEachIssuerOnceATrust) {
  KnownIssuer sub{.trust = {}, .issuer = {}, .public_key = {std::byte{1}, std::byte{0xfe}}};
  sub.issuer.name.fill(0x11);
  sub.issuer.key.fill(0x22);
  const auto page = trust_page({.known_issuers = [&sub](const PeerFacts& of) {
    KnownIssuer known = sub;
    if (of.route == "partners") known.trust = "partners";
    return std::vector{known};
  }});
  for (const char* route : {"orders", "partners", "orders"}) {
    PeerFacts facts = peer("web");
    facts.route = route;
    page->add(facts);
  }
  const json issuers = json::parse(page->finish({}))["issuers"];
  ASSERT_EQ(issuers.size(), 2U);
  EXPECT_EQ(issuers[0], json({{"trust", nullptr},
                              {"name", ktls::encode_hex(sub.issuer.name)},
                              {"key", ktls::encode_hex(sub.issuer.key)},
                              {"public_key", "01fe"}}));
  EXPECT_EQ(issuers[1]["trust"], "partners");
}

TEST(TrustPage, OfAPeerWithoutASpiffeIdHasNull) {
  const auto page = trust_page({});
  page->add(PeerFacts{});
  EXPECT_EQ(json::parse(page->finish({}))["peers"][0]["identity"],
            json({{"spiffe", nullptr}, {"dns", json::array()}}));
}

TEST(TrustPage, AtTheEndHasNoNext) {
  const json document = json::parse(trust_page({})->finish({}));
  EXPECT_EQ(document["next"], nullptr);
  EXPECT_EQ(document["peers"], json::array());
}

TEST(PeerCursor, IsOneNumberAndBack) {
  const std::uint64_t number = to_number({.shard = 3, .after = 1'000'000'000});
  EXPECT_LT(number, std::uint64_t{1} << 53);
  EXPECT_EQ(cursor_of(number, 4)->shard, 3U);
  EXPECT_EQ(cursor_of(number, 4)->after, 1'000'000'000U);
  EXPECT_FALSE(cursor_of(number, 3));
  EXPECT_EQ(cursor_of(0, 1)->after, 0U);
}

// A reader takes a number that does not for a list without an end.
TEST(PeerCursor, GrowsFromShardToShard) {
  const std::uint64_t last_of_a_shard = to_number({.shard = 0, .after = 1'000'000'000});
  EXPECT_LT(last_of_a_shard, to_number({.shard = 1, .after = 0}));
  EXPECT_LT(to_number({.shard = 1, .after = 0}), to_number({.shard = 1, .after = 1}));
}

TEST(PeerList, ShowsAPeerOfSeveralShardsOnce) {
  PeerFacts other = peer("web");
  other.connections = 0;
  other.last_seen = std::chrono::sys_seconds(400s);
  const json peers = list({peer("web"), other});

  ASSERT_EQ(peers.size(), 1U);
  EXPECT_EQ(peers[0], json({{"identity", "spiffe://example.org/web"},
                            {"route", "orders"},
                            {"listener", "127.0.0.1:8443"},
                            {"issuer", "CN=\xe2\x80\xae\"Sub"},
                            {"serial", "FF"},
                            {"anchor_key_sha256", ktls::encode_hex(peer("").trust.anchor_key)},
                            {"not_after", "1970-01-01T00:16:40.000Z"},
                            {"connections", 3},
                            {"last_seen", "1970-01-01T00:08:20.000Z"}}));
}

TEST(PeerList, BeginsWithTheSoonestExpiry) {
  const json peers = list({peer("late", 30s), peer("soon", 10s), peer("later", 40s)});
  EXPECT_EQ(peers[0]["identity"], "spiffe://example.org/soon");
  EXPECT_EQ(peers[2]["identity"], "spiffe://example.org/later");
}

TEST(PeerList, IsCutBehindTheSoonest) {
  const auto page = peer_list();
  for (std::size_t i = kMostListed + 5; i > 0; --i)
    page->add(peer(std::to_string(i), std::chrono::seconds(i)));
  const json peers = json::parse(page->finish({}));
  ASSERT_EQ(peers.size(), kMostListed);
  EXPECT_EQ(peers[0]["identity"], "spiffe://example.org/1");
}

TEST(PeerList, IsEmptyWithoutPeers) {
  EXPECT_EQ(list({}), json::array());
}

}  // namespace
}  // namespace sallyport::gateway
