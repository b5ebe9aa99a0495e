#include "gateway/run/peer_inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "ktls/trust/x509_facts.h"
#include "tests/gateway/run/inventory_json.h"
#include "tests/support/pki.h"

namespace sallyport::gateway::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kDigits[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

InventoryPeer peer() {
  InventoryPeer peer;
  peer.trust.identity = {.spiffe = "spiffe://example.org/web", .dns = {"a.b", "c.d"}};
  peer.trust.anchor_key.fill(7);
  peer.trust.links.resize(2);
  peer.trust.links[0].serial = std::string("\0\xff\x01", 3);
  peer.trust.links[0].issuer.fill(9);
  peer.trust.links[0].crl_key.emplace().fill(3);
  peer.trust.links[0].crl_points.resize(2);
  peer.trust.links[1].serial = "\x05";
  peer.trust.links[1].ca = true;
  peer.trust.not_after = std::chrono::sys_seconds(std::chrono::seconds(253'402'300'799));
  peer.trust.leaf = {.subject = "CN=web", .issuer = "CN=Root", .not_after = peer.trust.not_after};
  peer.route = "orders";
  peer.listener = "127.0.0.1:8443";
  peer.connections = 3;
  return peer;
}

KnownIssuer issuer() {
  static const std::vector<std::byte> kKey =
      ktls::public_key_der(test::TestAuthority("Sub").certificate().x509.get());
  KnownIssuer known;
  known.issuer.name.fill(5);
  known.issuer.key = ktls::sha256(kKey);
  known.public_key = kKey;
  return known;
}

std::string error_of(const json& page) {
  const auto parsed = parse_inventory_page(page.dump());
  return parsed ? "no error" : parsed.error();
}

TEST(PeerInventory, GivesTheFactsThatTheGatewayHas) {
  const auto page = parse_inventory_page(page_json({peer()}, 17, 5).dump());
  ASSERT_TRUE(page) << page.error();
  EXPECT_EQ(page->program, "0.1.0");
  EXPECT_EQ(page->instance, (InstanceId{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(page->generation, 5U);
  EXPECT_EQ(page->next, 17U);
  ASSERT_EQ(page->part.peers.size(), 1U);
  EXPECT_EQ(page->part.peers[0].trust, peer().trust);
  EXPECT_EQ(page->part.peers[0].route, "orders");
  EXPECT_EQ(page->part.peers[0].listener, "127.0.0.1:8443");
  EXPECT_EQ(page->part.peers[0].connections, 3U);
}

TEST(PeerInventory, GivesTheIssuersThatTheGatewayKnows) {
  KnownIssuer other = issuer();
  other.trust = "partners";
  const auto page = parse_inventory_page(page_json({}, {}, 1, "0.1.0", {issuer(), other}).dump());
  ASSERT_TRUE(page) << page.error();
  ASSERT_EQ(page->part.issuers.size(), 2U);
  EXPECT_FALSE(page->part.issuers[0].trust);
  EXPECT_EQ(page->part.issuers[0].issuer.name, issuer().issuer.name);
  EXPECT_EQ(page->part.issuers[0].issuer.key, issuer().issuer.key);
  EXPECT_EQ(page->part.issuers[0].public_key, issuer().public_key);
  EXPECT_EQ(page->part.issuers[1].trust, "partners");
}

TEST(PeerInventory, MayBeEmptyAndOfPeersWithoutIdentity) {
  const auto empty = parse_inventory_page(page_json({}).dump());
  ASSERT_TRUE(empty) << empty.error();
  EXPECT_FALSE(empty->next);
  EXPECT_TRUE(empty->part.peers.empty());
  InventoryPeer nameless = peer();
  nameless.trust.identity = {};
  const auto page = parse_inventory_page(page_json({nameless}).dump());
  ASSERT_TRUE(page) << page.error();
  EXPECT_EQ(page->part.peers[0].trust, nameless.trust);
}

// The form is that of the agreement, not of the writer above.
TEST(PeerInventory, HasThisForm) {
  const std::string name(kDigits, 2 * sizeof(ktls::NameHash));
  const auto page = parse_inventory_page(
      R"({"version": 2, "sallyport": "0.1.0",
          "instance": "00112233445566778899aabbccddeeff", "generation": 4, "next": null,
          "issuers": [], "peers": [{
          "identity": {"spiffe": null, "dns": ["a.b"]}, "route": "orders",
          "listener": "127.0.0.1:8443",
          "anchor": {"name": ")" +
      name + R"(", "key": ")" + kDigits + R"("},
          "chain": [{"issuer": ")" +
      name + R"(", "key": ")" + kDigits + R"(", "serial": "0a",
                     "ca": false, "signs_crls": true, "crl_points": [")" +
      name + R"("]}],
          "not_after": 1800000000,
          "leaf": {"subject": "CN=a", "issuer": "CN=b", "not_after": 1800000000},
          "connections": 3}]})");
  ASSERT_TRUE(page) << page.error();
  const ktls::PeerTrust& trust = page->part.peers.at(0).trust;
  EXPECT_EQ(trust.links.at(0).serial, "\n");
  EXPECT_EQ(trust.links.at(0).crl_key, trust.anchor_key);
  EXPECT_EQ(trust.anchor_key[31], 31);
}

// Every key of every object: without it, beside an unknown one, and null instead.
TEST(PeerInventory, IsRefusedWhereAFactIsMissingOrUnknown) {
  const json good = page_json({peer()}, 17, 1, "0.1.0", {issuer()});
  for (const char* place :
       {"", "/peers/0", "/peers/0/identity", "/peers/0/anchor", "/peers/0/chain/0",
        "/peers/0/chain/1", "/peers/0/leaf", "/issuers/0"}) {
    const json::json_pointer at(place);
    json more = good;
    more[at]["more"] = 1;
    EXPECT_THAT(error_of(more), HasSubstr("has keys that this version does not know")) << place;
    for (const auto& [key, value] : good[at].items()) {
      json less = good;
      less[at].erase(key);
      EXPECT_NE(error_of(less), "no error") << place << "/" << key;
      json empty = good;
      empty[at][key] = nullptr;
      const bool of_link = std::string_view(place).starts_with("/peers/0/chain/");
      const bool may_be_null =
          key == "next" || key == "spiffe" || key == "trust" || (key == "key" && of_link);
      EXPECT_EQ(error_of(empty) == "no error", may_be_null) << place << "/" << key;
    }
  }
}

TEST(PeerInventory, IsRefusedWhereAFactHasAnotherForm) {
  const json good = page_json({peer()}, 17, 1, "0.1.0", {issuer()});
  const auto changed = [&](const char* place, json value) {
    json page = good;
    page[json::json_pointer(place)] = std::move(value);
    return error_of(page);
  };
  EXPECT_THAT(changed("/version", 1), HasSubstr("a form that this version does not know"));
  EXPECT_THAT(changed("/version", "2"), HasSubstr("a form that this version does not know"));
  EXPECT_THAT(changed("/instance", "00"), HasSubstr("is not 16 bytes in hexadecimal"));
  EXPECT_THAT(changed("/issuers/0/trust", 1), HasSubstr("is no string"));
  EXPECT_THAT(changed("/issuers/0/name", "00"), HasSubstr("is not 32 bytes in hexadecimal"));
  EXPECT_THAT(changed("/issuers/0/key", std::string(64, '0')),
              HasSubstr("public_key in line 1 has another hash than its key"));
  EXPECT_THAT(changed("/issuers/0/public_key", "3000"),
              HasSubstr("public_key in line 1 has another hash than its key"));
  EXPECT_THAT(changed("/generation", -1), HasSubstr("generation in line 1 is negative"));
  EXPECT_THAT(changed("/next", 1.5), HasSubstr("is no whole number"));
  EXPECT_THAT(changed("/peers", json::object()), HasSubstr("is no array"));
  EXPECT_THAT(changed("/peers/0", 1), HasSubstr("peer in line 1 is no object"));
  EXPECT_THAT(changed("/peers/0/identity/spiffe", ""), HasSubstr("is no SPIFFE ID"));
  EXPECT_THAT(changed("/peers/0/identity/spiffe", "spiffe://A/x"), HasSubstr("is no SPIFFE ID"));
  EXPECT_THAT(changed("/peers/0/identity/dns", {"*.b"}), HasSubstr("is no DNS name"));
  EXPECT_THAT(changed("/peers/0/identity/dns", {1}), HasSubstr("is no string"));
  EXPECT_THAT(changed("/peers/0/anchor/key", "00"), HasSubstr("is not 32 bytes in hexadecimal"));
  EXPECT_THAT(changed("/peers/0/chain", json::array()), HasSubstr("chain in line 1 is empty"));
  EXPECT_THAT(changed("/peers/0/chain/0/serial", ""), HasSubstr("is not bytes"));
  EXPECT_THAT(changed("/peers/0/chain/0/serial", "abc"), HasSubstr("is not bytes"));
  EXPECT_THAT(changed("/peers/0/chain/0/serial", "xx"), HasSubstr("is not bytes"));
  EXPECT_THAT(changed("/peers/0/chain/0/ca", 0), HasSubstr("is neither true nor false"));
  EXPECT_THAT(changed("/peers/0/not_after", "soon"), HasSubstr("is no whole number"));
  EXPECT_THAT(changed("/peers/0/not_after", 1e300), HasSubstr("is no whole number"));
  EXPECT_THAT(changed("/peers/0/connections", -3), HasSubstr("is negative"));
}

TEST(PeerInventory, IsRefusedWhereAKeyIsNone) {
  KnownIssuer known = issuer();
  known.public_key.push_back(std::byte{0});
  known.issuer.key = ktls::sha256(known.public_key);
  EXPECT_EQ(error_of(page_json({}, {}, 1, "0.1.0", {known})),
            "public_key in line 1 is no public key");
}

TEST(PeerInventory, IsRefusedWhereItIsNoJson) {
  const std::string page = page_json({peer()}).dump();
  for (const std::string& text : {std::string(), std::string("404 not found"), page.substr(1),
                                  page.substr(0, page.size() - 1), page + "x"})
    EXPECT_THAT(parse_inventory_page(text).error(), HasSubstr("is not JSON")) << text;
  EXPECT_FALSE(parse_inventory_page("[]"));
  EXPECT_FALSE(parse_inventory_page("null"));
}

}  // namespace
}  // namespace sallyport::gateway::testing
