#include "gateway/observe/peers_json.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "gateway/observe/json_lines.h"
#include "gateway/observe/json_text.h"
#include "gateway/observe/text_value.h"
#include "gateway/observe/timestamp.h"
#include "ktls/base/hex.h"
#include "ktls/trust/presented_certificate.h"

namespace sallyport::gateway {
namespace {

using Json = nlohmann::ordered_json;

// Entries of a shard for ever. Below 2^53, so that every reader of JSON gets the number whole, are
// then more shards than Linux has CPUs.
constexpr std::uint64_t kMostEntries = std::uint64_t{1} << 39U;

class PeerList final : public PeersPage {
 public:
  [[nodiscard]] WhichPeers which() const override { return WhichPeers::kRecent; }

  void add(const PeerFacts& peer) override {
    const ktls::PresentedCertificate certificate = ktls::presented(peer.trust);
    Row& row =
        rows_[{peer.trust.not_after, peer.trust.identity.display(), peer.route, peer.listener,
               certificate.issuer, certificate.serial, peer.trust.anchor_key}];
    row.connections += peer.connections;
    row.last_seen = std::max(row.last_seen, peer.last_seen);
    if (rows_.size() > kMostListed) rows_.erase(std::prev(rows_.end()));
  }

  [[nodiscard]] std::string finish(const std::optional<PeerCursor>& /*next*/) override {
    JsonLines lines;
    for (const auto& [key, row] : rows_) {
      const auto& [not_after, identity, route, listener, issuer, serial, anchor] = key;
      lines.add(json_text({{"identity", ktls::cut(identity)},
                           {"route", route},
                           {"listener", listener},
                           {"issuer", issuer},
                           {"serial", serial},
                           {"anchor_key_sha256", ktls::encode_hex(anchor)},
                           {"not_after", rfc3339(not_after)},
                           {"connections", row.connections},
                           {"last_seen", rfc3339(row.last_seen)}}));
    }
    return lines.finish();
  }

 private:
  // What is shown, in the order in which it is.
  using Key = std::tuple<std::chrono::sys_seconds, std::string, std::string, std::string,
                         std::string, std::string, ktls::Sha256>;
  struct Row {
    std::uint64_t connections = 0;
    std::chrono::sys_time<std::chrono::milliseconds> last_seen{};
  };
  std::map<Key, Row> rows_;
};

// For a program, so: times as numbers, and nothing cut.
Json trust_json(const PeerFacts& peer) {
  const auto seconds = [](std::chrono::sys_seconds time) {
    return time.time_since_epoch().count();
  };
  const ktls::PeerTrust& trust = peer.trust;
  const std::string& spiffe = trust.identity.spiffe;
  Json chain = Json::array();
  for (const ktls::PeerTrust::Link& link : trust.links) {
    Json points = Json::array();
    for (const ktls::NameHash& point : link.crl_points) points.push_back(ktls::encode_hex(point));
    chain.push_back({{"issuer", ktls::encode_hex(link.issuer)},
                     {"key", link.crl_key ? Json(ktls::encode_hex(*link.crl_key)) : Json(nullptr)},
                     {"serial", ktls::encode_hex(std::as_bytes(std::span(link.serial)))},
                     {"ca", link.ca},
                     {"signs_crls", link.crl_key.has_value()},
                     {"crl_points", std::move(points)}});
  }
  return {
      {"identity",
       {{"spiffe", spiffe.empty() ? Json(nullptr) : Json(spiffe)}, {"dns", trust.identity.dns}}},
      {"route", peer.route},
      {"listener", peer.listener},
      {"anchor",
       {{"name", ktls::encode_hex(trust.anchor_name)},
        {"key", ktls::encode_hex(trust.anchor_key)}}},
      {"chain", std::move(chain)},
      {"not_after", seconds(trust.not_after)},
      {"leaf",
       {{"subject", trust.leaf.subject},
        {"issuer", trust.leaf.issuer},
        {"not_after", seconds(trust.leaf.not_after)}}},
      {"connections", peer.connections}};
}

Json issuer_json(const KnownIssuer& known) {
  return {{"trust", known.trust ? Json(*known.trust) : Json(nullptr)},
          {"name", ktls::encode_hex(known.issuer.name)},
          {"key", ktls::encode_hex(known.issuer.key)},
          {"public_key", ktls::encode_hex(known.public_key)}};
}

class TrustPage final : public PeersPage {
 public:
  explicit TrustPage(InForce now) : now_(std::move(now)) {}

  [[nodiscard]] WhichPeers which() const override { return WhichPeers::kConnected; }

  void add(const PeerFacts& peer) override {
    peers_.add(json_text(trust_json(peer)));
    if (!now_.known_issuers) return;
    for (const KnownIssuer& each : now_.known_issuers(peer))
      if (shown_.emplace(each.trust, each.issuer.key).second)
        issuers_.add(json_text(issuer_json(each)));
  }

  [[nodiscard]] std::string finish(const std::optional<PeerCursor>& next) override {
    return "{\"version\": 2, \"sallyport\": " + json_string(now_.program) +
           ", \"instance\": " + json_string(now_.instance) +
           ", \"generation\": " + std::to_string(now_.generation) +
           ", \"next\": " + (next ? std::to_string(to_number(*next)) : "null") +
           ", \"peers\": " + peers_.finish(", \"issuers\": ") + issuers_.finish("}\n");
  }

 private:
  InForce now_;
  JsonLines peers_;
  JsonLines issuers_;
  std::set<std::pair<std::optional<std::string>, ktls::Sha256>> shown_;
};

}  // namespace

std::unique_ptr<PeersPage> peer_list() {
  return std::make_unique<PeerList>();
}

std::unique_ptr<PeersPage> trust_page(const InForce& now) {
  return std::make_unique<TrustPage>(now);
}

std::uint64_t to_number(const PeerCursor& cursor) {
  return cursor.shard * kMostEntries + cursor.after;
}

std::optional<PeerCursor> cursor_of(std::uint64_t number, std::size_t shards) {
  const PeerCursor cursor{.shard = number / kMostEntries, .after = number % kMostEntries};
  if (cursor.shard >= shards) return std::nullopt;
  return cursor;
}

}  // namespace sallyport::gateway
