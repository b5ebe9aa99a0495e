#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "gateway/run/peer_inventory.h"
#include "ktls/base/hex.h"

/// The form of /peers/trust, written apart from the gateway's own writer.
namespace sallyport::gateway::testing {

using nlohmann::json;

inline json to_json(const ktls::PeerTrust::Link& link) {
  json points = json::array();
  for (const auto& each : link.crl_points) points.push_back(ktls::encode_hex(each));
  return {{"issuer", ktls::encode_hex(link.issuer)},
          {"key", link.crl_key ? json(ktls::encode_hex(*link.crl_key)) : json()},
          {"serial", ktls::encode_hex(std::as_bytes(std::span(link.serial)))},
          {"ca", link.ca},
          {"signs_crls", link.crl_key.has_value()},
          {"crl_points", points}};
}

inline json to_json(const InventoryPeer& peer) {
  const ktls::PeerTrust& trust = peer.trust;
  json chain = json::array();
  for (const auto& each : trust.links) chain.push_back(to_json(each));
  const std::string& spiffe = trust.identity.spiffe;
  return {{"identity",
           {{"spiffe", spiffe.empty() ? json() : json(spiffe)}, {"dns", trust.identity.dns}}},
          {"route", peer.route},
          {"listener", peer.listener},
          {"anchor",
           {{"name", ktls::encode_hex(trust.anchor_name)},
            {"key", ktls::encode_hex(trust.anchor_key)}}},
          {"chain", chain},
          {"not_after", trust.not_after.time_since_epoch().count()},
          {"leaf",
           {{"subject", trust.leaf.subject},
            {"issuer", trust.leaf.issuer},
            {"not_after", trust.leaf.not_after.time_since_epoch().count()}}},
          {"connections", peer.connections}};
}

inline json to_json(const KnownIssuer& known) {
  return {{"trust", known.trust ? json(*known.trust) : json()},
          {"name", ktls::encode_hex(known.issuer.name)},
          {"key", ktls::encode_hex(known.issuer.key)},
          {"public_key", ktls::encode_hex(known.public_key)}};
}

inline json page_json(const std::vector<InventoryPeer>& peers, json next = {},
                      std::uint64_t generation = 1, const std::string& program = "0.1.0",
                      const std::vector<KnownIssuer>& issuers = {}) {
  json peer_list = json::array();
  for (const auto& each : peers) peer_list.push_back(to_json(each));
  json issuer_list = json::array();
  for (const auto& each : issuers) issuer_list.push_back(to_json(each));
  return {{"version", 2},
          {"sallyport", program},
          {"instance", "000102030405060708090a0b0c0d0e0f"},
          {"generation", generation},
          {"next", std::move(next)},
          {"peers", peer_list},
          {"issuers", issuer_list}};
}

}  // namespace sallyport::gateway::testing
