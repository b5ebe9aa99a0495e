#include "gateway/observe/admin_json.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "gateway/observe/json_text.h"
#include "gateway/observe/timestamp.h"
#include "ktls/base/hex.h"

namespace sallyport::gateway {
namespace {

using Json = nlohmann::ordered_json;

std::string page(const Json& json) {
  return json_text(json, 2) + "\n";
}

Json health_json(const HealthCheck& rule) {
  return {{"type", to_string(rule.type)},
          {"interval_ms", rule.interval.count()},
          {"timeout_ms", rule.timeout.count()},
          {"rise", rule.rise},
          {"fall", rule.fall}};
}

Json endpoint_json(const Endpoint& endpoint, const EndpointRules& rules) {
  const auto now = std::chrono::steady_clock::now();
  const EndpointLife& life = *endpoint.life;
  Json json{{"backend", endpoint.target},
            {"address", endpoint.address.to_string()},
            {"state", to_string(endpoint.state())},
            {"weight", endpoint.weight()},
            {"up", endpoint.up(now)},
            {"connections", life.connections()}};
  if (rules.health) json["health"] = to_string(life.shown(*rules.health, now));
  if (life.ejected(now)) json["ejected"] = true;
  if (!endpoint.labels->zone.empty()) json["zone"] = endpoint.labels->zone;
  if (!endpoint.labels->tls_name.empty()) json["tls_name"] = endpoint.labels->tls_name;
  if (!endpoint.labels->tls_id.empty()) json["tls_id"] = endpoint.labels->tls_id;
  return json;
}

Json proxy_json(const ProxyRule& rule) {
  Json tlvs = Json::array();
  for (const ProxyTlv tlv : rule.tlvs) tlvs.push_back(to_string(tlv));
  const std::byte type{rule.identity_type};
  return {{"tlvs", std::move(tlvs)},
          {"identity-type", "0x" + ktls::encode_hex(std::span(&type, 1), ktls::HexCase::kUpper)}};
}

// Those that the route no longer has, as long as they have connections.
Json leaving_json(const std::string& route, std::span<const GoneEndpoint> all) {
  Json list = Json::array();
  for (const GoneEndpoint& gone : all) {
    const std::uint64_t connections = gone.endpoint->life->connections();
    if (gone.route != route || connections == 0) continue;
    list.push_back({{"backend", gone.endpoint->target},
                    {"address", gone.endpoint->address.to_string()},
                    {"connections", connections}});
  }
  return list;
}

Json route_json(const Route& route, const EndpointSet& set,
                std::span<const GoneEndpoint> all_gone) {
  const RouteEndpoints* const endpoints = set.find(route.name);
  Json json{{"route", route.name}, {"sni", route.sni}};
  // As in the policy file, an empty list is not none: null.
  const bool takes_any_offer = route.alpn.empty() && !route.takes_no_offer;
  json["alpn"] = takes_any_offer ? Json(nullptr) : Json(route.alpn);
  if (route.allow_any_verified) {
    json["allow-any-verified"] = true;
  } else {
    Json allow = Json::array();
    for (const IdentityPattern& pattern : route.allow) allow.push_back(pattern.text());
    json["allow"] = std::move(allow);
  }
  json["balance"] = to_string(route.balance);
  json["truncation"] = to_string(route.truncation);
  const EndpointRules& rules = route.endpoint_rules;
  json["prefer-zone"] = rules.prefer_zone;
  if (rules.health) json["health"] = health_json(*rules.health);
  json["when-none-healthy"] = to_string(rules.when_none_healthy);
  if (route.proxy) json["proxy-protocol"] = proxy_json(*route.proxy);
  json["endpoints"] = Json::array();
  if (Json gone = leaving_json(route.name, all_gone); !gone.empty()) json["gone"] = std::move(gone);
  json["usable"] = endpoints != nullptr ? endpoints->usable() : 0;
  if (endpoints == nullptr) return json;
  for (const auto& endpoint : endpoints->endpoints) {
    json["endpoints"].push_back(endpoint_json(*endpoint, rules));
  }
  if (!endpoints->unresolved.empty()) json["unresolved"] = endpoints->unresolved;
  return json;
}

Json certificate_json(const ktls::CertificateFact& fact) {
  Json json{{"role", ktls::to_string(fact.role)},
            {"file", fact.name},
            {"subject", fact.subject},
            {"issuer", fact.issuer},
            {"serial", fact.serial},
            {"names", fact.names},
            {"key", fact.key},
            {"sha256", fact.fingerprint},
            {"not_before", rfc3339(fact.not_before)},
            {"not_after", rfc3339(fact.not_after)}};
  if (fact.role == ktls::CertificateFact::Role::kServer) json["leaf"] = fact.leaf;
  if (fact.role == ktls::CertificateFact::Role::kCa) json["anchor"] = fact.anchor;
  if (fact.trust_domain) json["trust_domain"] = *fact.trust_domain;
  return json;
}

Json crl_json(const ktls::CrlFact& fact) {
  Json json{{"file", fact.name},
            {"issuer", fact.issuer},
            {"this_update", rfc3339(fact.this_update)},
            {"revoked", fact.revoked}};
  json["next_update"] = fact.next_update ? Json(rfc3339(*fact.next_update)) : Json(nullptr);
  return json;
}

// A list in which nothing stands twice: files may be those of several routes.
class UniqueItems {
 public:
  void add(Json item) {
    if (known_.insert(json_text(item)).second) list_.push_back(std::move(item));
  }
  Json list() && { return std::move(list_); }

 private:
  Json list_ = Json::array();
  std::set<std::string> known_;
};

}  // namespace

ConnectionList::ConnectionList(std::optional<std::uint64_t> total)
    : with_total_(total.has_value()),
      lines_(total ? "{\"total\": " + std::to_string(*total) + ", \"connections\": " : "") {}

void ConnectionList::add(const ConnectionFacts& connection) {
  const auto& not_after = connection.not_after;
  const auto& resumed = connection.backend_resumed;
  const Json json{{"id", connection.id},
                  {"direction", connection.egress ? "egress" : "ingress"},
                  {"client", connection.client},
                  {"local_user", connection.local_user},
                  {"proxy", connection.proxy},
                  {"identity", connection.identity},
                  {"listener", connection.listener},
                  {"route", connection.route},
                  {"backend", connection.backend},
                  {"backend_address", connection.backend_address},
                  {"backend_identity", connection.backend_identity},
                  {"backend_resumed", resumed ? Json(*resumed) : Json(nullptr)},
                  {"local_address", connection.local_address},
                  {"records", connection.records},
                  {"kept", connection.kept.empty() ? Json(nullptr) : Json(connection.kept)},
                  {"cipher", connection.cipher},
                  {"since", rfc3339(connection.since())},
                  {"received_bytes", connection.received_bytes},
                  {"sent_bytes", connection.sent_bytes},
                  {"issuer", connection.issuer},
                  {"serial", connection.serial},
                  {"not_after", not_after ? Json(rfc3339(*not_after)) : Json(nullptr)}};
  lines_.add(json_text(json));
}

std::string ConnectionList::finish() {
  return lines_.finish(with_total_ ? "}\n" : "\n");
}

std::string routes_json(const Policy& policy, const EndpointSet& endpoints,
                        std::span<const GoneEndpoint> gone) {
  Json list = Json::array();
  for (const Route& route : policy.routes()) {
    list.push_back(route_json(route, endpoints, gone));
  }
  return page(list);
}

std::string credentials_json(std::span<const std::shared_ptr<const ktls::Credentials>> all,
                             const CredentialsStatus& status) {
  UniqueItems certificates, crls, files;
  for (const auto& credentials : all) {
    for (const ktls::CertificateFact& fact : credentials->certificates())
      certificates.add(certificate_json(fact));
    for (const ktls::CrlFact& fact : credentials->crls()) crls.add(crl_json(fact));
    for (const ktls::FileFact& fact : credentials->files()) {
      files.add({{"file", fact.name},
                 {"option", fact.option},
                 {"object", fact.object},
                 {"count", fact.count}});
    }
  }
  return page({{"generation", status.generation},
               {"since", rfc3339(status.since)},
               {"refused", status.refused ? Json(*status.refused) : Json(nullptr)},
               {"trust_digest", ktls::encode_hex(all.front()->trust_digest())},
               {"files", std::move(files).list()},
               {"certificates", std::move(certificates).list()},
               {"crls", std::move(crls).list()}});
}

}  // namespace sallyport::gateway
