#include "gateway/run/config_changes.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "gateway/observe/timestamp.h"
#include "gateway/policy/config_error.h"

namespace sallyport::gateway {
namespace {

constexpr std::size_t kLongestName = 300;

std::string shown(std::string_view text) {
  return printable(text, kLongestName);
}

// Adds "+ " and "- " entries for what only one of them has, behind `where`.
template <class Set>
void add_difference(Changes& changes, const std::string& where, const Set& before,
                    const Set& next) {
  for (const auto& each : before)
    if (!next.contains(each)) changes.emplace_back(where + "- ").append(each);
  for (const auto& each : next)
    if (!before.contains(each)) changes.emplace_back(where + "+ ").append(each);
}

Changes capped(Changes changes) {
  if (changes.size() <= kMostChanges) return changes;
  const std::size_t more = changes.size() - kMostChanges;
  changes.resize(kMostChanges);
  changes.push_back("and " + std::to_string(more) + " more");
  return changes;
}

using Facts = std::set<std::string>;

std::string fact(const ktls::CertificateFact& certificate) {
  const bool own = certificate.role == ktls::CertificateFact::Role::kServer;
  const std::string_view kind = own && certificate.leaf ? "certificate"
                                : certificate.anchor    ? "anchor"
                                                        : "intermediate";
  std::string text = std::string(kind) + " " + shown(certificate.name);
  if (certificate.trust_domain) text += " for " + shown(*certificate.trust_domain);
  return text + ": " + shown(certificate.subject) + ", serial " + shown(certificate.serial) +
         ", expires at " + rfc3339(certificate.not_after);
}

std::string fact(const ktls::CrlFact& crl) {
  std::string text = "crl " + shown(crl.name) + ": of " + shown(crl.issuer) + ", number ";
  text += crl.number ? crl.number->to_string() : "none";
  text += ", " + std::to_string(crl.revoked) + " revoked, ";
  return text + (crl.next_update ? "next update at " + rfc3339(*crl.next_update)
                                 : std::string("no next update"));
}

Facts facts_of(const CredentialsTable& table) {
  Facts facts;
  for (const CredentialsTable::Entry& entry : table.entries()) {
    for (const auto& each : entry.credentials->certificates()) facts.insert(fact(each));
    for (const auto& each : entry.credentials->crls()) facts.insert(fact(each));
  }
  return facts;
}

// The values of a key; one whose order counts is one text.
using Rules = std::map<std::string, std::set<std::string>>;

std::string duration_text(std::chrono::milliseconds time) {
  return std::to_string(time.count()) + "ms";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ":") + shown(word);
  return text;
}

void add_files(Rules& rules, const std::string& prefix, const RouteFiles& files) {
  auto& credentials = rules[prefix + "credentials"];
  for (const NamedCredentials& each : files.credentials)
    credentials.insert(shown(each.name) + " (" + shown(each.cert) + ", " + shown(each.key) + ")");
  if (!files.trust) return;
  std::string trust = shown(files.trust->name) + " (ca " + joined(files.trust->ca);
  if (!files.trust->crls.empty()) trust += ", crl " + joined(files.trust->crls);
  if (files.trust->trust_domain) trust += ", trust-domain " + shown(*files.trust->trust_domain);
  rules[prefix + "trust"] = {trust + ")"};
}

void add_patterns(std::set<std::string>& values, const std::vector<IdentityPattern>& patterns) {
  for (const IdentityPattern& each : patterns) values.insert(shown(each.text()));
}

void add_endpoint_rules(Rules& rules, const EndpointRules& of) {
  if (of.health) {
    const HealthCheck& check = *of.health;
    std::string text = std::string(to_string(check.type)) + " interval " +
                       duration_text(check.interval) + " timeout " + duration_text(check.timeout) +
                       " rise " + std::to_string(check.rise) + " fall " +
                       std::to_string(check.fall);
    if (check.port) text += " port " + std::to_string(*check.port);
    if (check.type == HealthCheck::Type::kHttp) {
      text += " path " + shown(check.path) + " status " + std::to_string(check.lowest_status) +
              "-" + std::to_string(check.highest_status);
      if (!check.host.empty()) text += " host " + shown(check.host);
    }
    if (check.type == HealthCheck::Type::kSendExpect)
      text += " send " + shown(check.send) + " expect " + shown(check.expect);
    rules["health"] = {text};
  }
  rules["ejection"] = {of.ejection ? "failures " + std::to_string(of.ejection->failures) +
                                         " time " + duration_text(of.ejection->time) +
                                         " max-time " + duration_text(of.ejection->max_time)
                                   : "false"};
  rules["when-none-healthy"] = {std::string(to_string(of.when_none_healthy))};
  rules["end-when-down"] = {of.end_when_down ? "true" : "false"};
  rules["prefer-zone"] = {of.prefer_zone ? "true" : "false"};
  rules["slow-start"] = {duration_text(of.slow_start)};
  rules["removal-timeout"] = {duration_text(of.removal_timeout)};
}

void add_backend_tls(Rules& rules, const BackendTls& tls, const RouteFiles* files) {
  auto& verify = rules["backend-tls.verify"];
  if (tls.verify.empty()) verify.insert("endpoint");
  add_patterns(verify, tls.verify);
  if (!tls.sni.empty()) rules["backend-tls.sni"] = {shown(tls.sni)};
  if (tls.forward_alpn) rules["backend-tls.alpn"] = {"forward"};
  if (!tls.alpn.empty()) rules["backend-tls.alpn"] = {joined(tls.alpn)};
  rules["backend-tls.min-tls"] = {tls.min_version == ktls::RecordVersion::kTls12 ? "1.2" : "1.3"};
  if (tls.starttls_postgresql) rules["backend-tls.starttls"] = {"postgresql"};
  if (files != nullptr) add_files(rules, "backend-tls.", *files);
  if (!tls.presents_certificate) rules["backend-tls.credentials"] = {"none"};
}

// By the keys of the policy file. `policy` has the route; null: it is made of defaults.
Rules rules_of(const Route& route, const Policy* policy) {
  Rules rules;
  for (const std::string& each : route.sni) rules["sni"].insert(shown(each));
  if (!route.alpn.empty()) rules["alpn"] = {joined(route.alpn)};
  if (route.alpn.empty() && route.takes_no_offer) rules["alpn"] = {"[]"};
  add_patterns(rules["allow"], route.allow);
  rules["allow-any-verified"] = {route.allow_any_verified ? "true" : "false"};
  rules["egress"] = {route.egress ? "true" : "false"};
  rules["allow-empty"] = {route.allow_empty ? "true" : "false"};
  rules["balance"] = {std::string(to_string(route.balance))};
  rules["truncation"] = {std::string(to_string(route.truncation))};
  rules["max-connections"] = {std::to_string(route.limits.max_connections)};
  rules["max-connections-per-endpoint"] = {
      std::to_string(route.limits.max_connections_per_endpoint)};
  rules["limits"] = {
      "connections-per-identity " + std::to_string(route.limits.connections_per_identity) +
      " handshakes-per-identity " + std::to_string(route.limits.handshakes_per_identity) + "/s"};
  if (policy != nullptr) add_files(rules, "", policy->files()[route.files]);
  add_endpoint_rules(rules, route.endpoint_rules);
  if (route.proxy) {
    std::vector<std::string> tlvs;
    for (const ProxyTlv each : route.proxy->tlvs) tlvs.emplace_back(to_string(each));
    rules["proxy-protocol"] = {joined(tlvs) + " identity-type " +
                               std::to_string(route.proxy->identity_type)};
  }
  if (route.warm) {
    rules["warm"] = {"min " + std::to_string(route.warm->min) + " max " +
                     std::to_string(route.warm->max) + " max-idle " +
                     duration_text(route.warm->max_idle)};
  }
  if (route.backend_tls) {
    add_backend_tls(rules, *route.backend_tls,
                    policy != nullptr ? &policy->files()[route.backend_tls->files] : nullptr);
  }
  return rules;
}

void add_rules(Changes& changes, const std::string& where, const Rules& before, const Rules& next) {
  std::set<std::string> keys;
  for (const auto& [key, values] : before) keys.insert(key);
  for (const auto& [key, values] : next) keys.insert(key);
  static const std::set<std::string> nothing;
  for (const std::string& key : keys) {
    const auto old = before.find(key);
    const auto now = next.find(key);
    const auto& was = old == before.end() ? nothing : old->second;
    const auto& is = now == next.end() ? nothing : now->second;
    if (was == is) continue;
    const bool one_value = was.size() == 1 && is.size() == 1 && key != "allow" && key != "sni" &&
                           key != "backend-tls.verify";
    if (one_value) {
      changes.push_back(where + key + " " + *was.begin() + " -> " + *is.begin());
    } else {
      std::set<std::string> had;
      std::set<std::string> has;
      const std::string begin = key + " ";
      for (const std::string& each : was) had.insert(std::string(begin).append(each));
      for (const std::string& each : is) has.insert(std::string(begin).append(each));
      add_difference(changes, where, had, has);
    }
  }
}

std::string labels_text(const GroupLabels& labels) {
  std::string text =
      "weight " + std::to_string(labels.weight) + ", " + std::string(to_string(labels.state));
  if (!labels.zone.empty()) text += ", zone " + shown(labels.zone);
  if (!labels.tls_name.empty()) text += ", tls_name " + shown(labels.tls_name);
  if (!labels.tls_id.empty()) text += ", tls_id " + shown(labels.tls_id);
  return text;
}

using Targets = std::map<std::string_view, const GroupLabels*>;

Targets targets_of(const DiscoveredRoute* route) {
  Targets targets;
  if (route == nullptr) return targets;
  for (const DiscoveredTarget& each : route->targets) targets.emplace(each.text, each.labels.get());
  return targets;
}

// Adds entries of one kind, and how many are left out.
class TargetList {
 public:
  TargetList(std::string where, std::string kind)
      : where_(std::move(where)), kind_(std::move(kind)) {}
  void add(const std::string& entry) {
    if (count_++ < kMostTargets) entries_.push_back(where_ + entry);
  }
  void move_to(Changes& changes) {
    std::ranges::move(entries_, std::back_inserter(changes));
    if (count_ > kMostTargets)
      changes.push_back(where_ + std::to_string(count_ - kMostTargets) + " more " + kind_);
  }

 private:
  std::string where_, kind_;
  Changes entries_;
  std::size_t count_ = 0;
};

void add_targets(Changes& changes, const std::string& name, const DiscoveredRoute* before,
                 const DiscoveredRoute* next) {
  const Targets was = targets_of(before);
  const Targets is = targets_of(next);
  const std::string where = "route " + shown(name) + ": ";
  TargetList went(where, "went");
  TargetList came(where, "came");
  TargetList changed(where, "changed");
  for (const auto& [target, labels] : was)
    if (!is.contains(target)) went.add("- " + shown(target));
  for (const auto& [target, labels] : is) {
    const auto old = was.find(target);
    if (old == was.end()) {
      came.add("+ " + shown(target) + " " + labels_text(*labels));
    } else if (*old->second != *labels) {
      changed.add(shown(target) + " " + labels_text(*old->second) + " -> " + labels_text(*labels));
    }
  }
  went.move_to(changes);
  came.move_to(changes);
  changed.move_to(changes);
}

}  // namespace

Changes credentials_changes(const CredentialsTable& before, const CredentialsTable& next) {
  Changes changes;
  add_difference(changes, "", facts_of(before), facts_of(next));
  if (changes.empty() && !(before == next)) changes.emplace_back("ticket secret");
  return capped(std::move(changes));
}

Changes policy_changes(const Policy& before, const Policy& next) {
  Changes changes;
  static const Rules defaults = rules_of(Route{}, nullptr);
  std::set<std::string> names;
  for (const Route& each : before.routes()) names.insert(each.name);
  for (const Route& each : next.routes()) names.insert(each.name);
  for (const std::string& name : names) {
    const Route* const was = before.find(name);
    const Route* const is = next.find(name);
    const std::string where = "route " + shown(name);
    if (is == nullptr) {
      changes.push_back("- " + where);
      continue;
    }
    if (was == nullptr) changes.push_back("+ " + where);
    add_rules(changes, where + ": ", was == nullptr ? defaults : rules_of(*was, &before),
              rules_of(*is, &next));
  }
  return capped(std::move(changes));
}

Changes discovery_changes(const Discovery& before, const Discovery& next) {
  Changes changes;
  std::map<std::string, std::pair<const DiscoveredRoute*, const DiscoveredRoute*>> routes;
  for (const DiscoveredRoute& each : before.routes) routes[each.name].first = &each;
  for (const DiscoveredRoute& each : next.routes) routes[each.name].second = &each;
  for (const auto& [name, each] : routes) {
    const auto& [was, is] = each;
    if (was == nullptr) changes.push_back("+ route " + shown(name));
    if (is == nullptr) changes.push_back("- route " + shown(name));
    add_targets(changes, name, was, is);
  }
  return capped(std::move(changes));
}

}  // namespace sallyport::gateway
