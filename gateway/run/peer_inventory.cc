#include "gateway/run/peer_inventory.h"

#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "gateway/policy/json_document.h"
#include "ktls/base/hex.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::gateway {
namespace {

constexpr std::int64_t kForm = 2;

// Takes values out of a page. The first error stays, and what is read after it means nothing: so
// the functions below read as the form that they expect. Null values come after an error only.
class PageReader {
 public:
  std::expected<InventoryPage, std::string> read(const JsonValue& document);

 private:
  void fail(const JsonValue* value, std::string_view name, std::string_view what) {
    if (error_) return;
    const std::string line = value == nullptr ? "" : " in line " + std::to_string(value->line);
    error_ = std::string(name) + line + " " + std::string(what);
  }

  // The members of an object that has these keys and no others, in this order.
  template <std::size_t N>
  std::array<const JsonValue*, N> members(const JsonValue* value, std::string_view name,
                                          const std::array<std::string_view, N>& keys) {
    std::array<const JsonValue*, N> found{};
    if (value == nullptr || error_) return found;
    const JsonValue::Object* object = value->object();
    if (object == nullptr) {
      fail(value, name, "is no object");
      return found;
    }
    for (std::size_t i = 0; i < N; ++i) {
      found[i] = value->find(keys[i]);
      if (found[i] == nullptr) fail(value, name, "lacks " + std::string(keys[i]));
    }
    if (object->size() != N) fail(value, name, "has keys that this version does not know");
    return found;
  }

  std::span<const JsonValue> array(const JsonValue* value, std::string_view name) {
    if (value == nullptr || error_) return {};
    if (const JsonValue::Array* found = value->array()) return *found;
    fail(value, name, "is no array");
    return {};
  }
  std::string text(const JsonValue* value, std::string_view name) {
    if (value == nullptr || error_) return {};
    if (const std::string* found = value->string()) return *found;
    fail(value, name, "is no string");
    return {};
  }
  bool boolean(const JsonValue* value, std::string_view name) {
    if (value == nullptr || error_) return false;
    if (const bool* found = value->boolean()) return *found;
    fail(value, name, "is neither true nor false");
    return false;
  }
  std::int64_t whole(const JsonValue* value, std::string_view name) {
    if (value == nullptr || error_) return 0;
    const JsonNumber* found = value->number();
    if (found != nullptr && found->whole) return *found->whole;
    fail(value, name, "is no whole number");
    return 0;
  }
  std::uint64_t count(const JsonValue* value, std::string_view name) {
    const std::int64_t number = whole(value, name);
    if (number < 0) fail(value, name, "is negative");
    return static_cast<std::uint64_t>(number);
  }
  std::chrono::sys_seconds time(const JsonValue* value, std::string_view name) {
    return std::chrono::sys_seconds(std::chrono::seconds(whole(value, name)));
  }
  void hash(const JsonValue* value, std::string_view name, std::span<std::uint8_t> out) {
    const std::string digits = text(value, name);
    if (!error_ && !ktls::decode_hex(digits, std::as_writable_bytes(out)))
      fail(value, name, "is not " + std::to_string(out.size()) + " bytes in hexadecimal");
  }
  std::string bytes(const JsonValue* value, std::string_view name) {
    const std::string digits = text(value, name);
    std::string out(digits.size() / 2, '\0');
    const bool good = ktls::decode_hex(digits, std::as_writable_bytes(std::span(out)));
    if (!error_ && (!good || out.empty())) fail(value, name, "is not bytes in hexadecimal");
    return out;
  }

  ktls::PeerIdentity identity(const JsonValue* value);
  ktls::PeerTrust::Link link(const JsonValue& value);
  ktls::PeerTrust::Leaf leaf(const JsonValue* value);
  InventoryPeer peer(const JsonValue& value);
  KnownIssuer issuer(const JsonValue& value);

  std::optional<std::string> error_;
};

ktls::PeerIdentity PageReader::identity(const JsonValue* value) {
  const auto [spiffe, dns] = members<2>(value, "identity", {"spiffe", "dns"});
  ktls::PeerIdentity identity;
  if (spiffe != nullptr && !spiffe->is_null()) {
    identity.spiffe = text(spiffe, "spiffe");
    if (!error_ && ktls::normalise_spiffe_id(identity.spiffe) != identity.spiffe)
      fail(spiffe, "spiffe", "is no SPIFFE ID");
  }
  for (const JsonValue& each : array(dns, "dns")) {
    identity.dns.push_back(text(&each, "dns"));
    const std::string& name = identity.dns.back();
    if (!error_ && (name.empty() || ktls::normalise_dns_name(name) != name))
      fail(&each, "dns", "is no DNS name");
  }
  return identity;
}

ktls::PeerTrust::Link PageReader::link(const JsonValue& value) {
  const auto [issuer, key, serial, ca, signs_crls, crl_points] =
      members<6>(&value, "chain", {"issuer", "key", "serial", "ca", "signs_crls", "crl_points"});
  ktls::PeerTrust::Link link;
  hash(issuer, "issuer", link.issuer);
  if (key != nullptr && !key->is_null()) hash(key, "key", link.crl_key.emplace());
  link.serial = bytes(serial, "serial");
  link.ca = boolean(ca, "ca");
  if (!boolean(signs_crls, "signs_crls")) link.crl_key.reset();
  for (const JsonValue& each : array(crl_points, "crl_points"))
    hash(&each, "crl_points", link.crl_points.emplace_back());
  return link;
}

ktls::PeerTrust::Leaf PageReader::leaf(const JsonValue* value) {
  const auto [subject, issuer, not_after] =
      members<3>(value, "leaf", {"subject", "issuer", "not_after"});
  ktls::PeerTrust::Leaf leaf;
  leaf.subject = text(subject, "subject");
  leaf.issuer = text(issuer, "issuer");
  leaf.not_after = time(not_after, "not_after");
  return leaf;
}

InventoryPeer PageReader::peer(const JsonValue& value) {
  const auto [who, route, listener, anchor, chain, not_after, own, connections] = members<8>(
      &value, "peer",
      {"identity", "route", "listener", "anchor", "chain", "not_after", "leaf", "connections"});
  InventoryPeer peer;
  peer.trust.identity = identity(who);
  peer.route = text(route, "route");
  peer.listener = text(listener, "listener");
  const auto [anchor_name, anchor_key] = members<2>(anchor, "anchor", {"name", "key"});
  hash(anchor_name, "name", peer.trust.anchor_name);
  hash(anchor_key, "key", peer.trust.anchor_key);
  for (const JsonValue& each : array(chain, "chain")) peer.trust.links.push_back(link(each));
  if (peer.trust.links.empty()) fail(chain, "chain", "is empty");
  peer.trust.not_after = time(not_after, "not_after");
  peer.trust.leaf = leaf(own);
  peer.connections = count(connections, "connections");
  return peer;
}

// The hash is that of the links: a key that is not its own could vouch for any list.
KnownIssuer PageReader::issuer(const JsonValue& value) {
  const auto [trust, name, key, public_key] =
      members<4>(&value, "issuer", {"trust", "name", "key", "public_key"});
  KnownIssuer known;
  if (trust != nullptr && !trust->is_null()) known.trust = text(trust, "trust");
  hash(name, "name", known.issuer.name);
  hash(key, "key", known.issuer.key);
  const std::string der = bytes(public_key, "public_key");
  const auto der_bytes = std::as_bytes(std::span(der));
  known.public_key.assign(der_bytes.begin(), der_bytes.end());
  if (!error_ && ktls::sha256(der_bytes) != known.issuer.key)
    fail(public_key, "public_key", "has another hash than its key");
  if (!error_ && !ktls::decode_public_key(der_bytes))
    fail(public_key, "public_key", "is no public key");
  return known;
}

std::expected<InventoryPage, std::string> PageReader::read(const JsonValue& document) {
  // Another form may have anything else.
  const JsonValue* const form = document.find("version");
  if (form == nullptr || whole(form, "version") != kForm)
    return std::unexpected("is of a form that this version does not know");
  const auto [version, program, instance, generation, next, peers, issuers] =
      members<7>(&document, "page",
                 {"version", "sallyport", "instance", "generation", "next", "peers", "issuers"});
  InventoryPage page;
  page.program = text(program, "sallyport");
  hash(instance, "instance", page.instance);
  page.generation = count(generation, "generation");
  if (next != nullptr && !next->is_null()) page.next = count(next, "next");
  for (const JsonValue& each : array(peers, "peers")) page.part.peers.push_back(peer(each));
  for (const JsonValue& each : array(issuers, "issuers")) page.part.issuers.push_back(issuer(each));
  if (error_) return std::unexpected(*std::move(error_));
  return page;
}

}  // namespace

std::expected<InventoryPage, std::string> parse_inventory_page(std::string_view json) {
  const auto document = parse_json(json, "");
  if (!document) return std::unexpected("is not JSON: " + document.error().to_string());
  return PageReader().read(*document);
}

}  // namespace sallyport::gateway
