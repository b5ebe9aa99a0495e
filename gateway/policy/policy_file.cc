#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gateway/policy/backend_tls.h"
#include "gateway/policy/endpoint_rules.h"
#include "gateway/policy/host_name.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"
#include "gateway/policy/named_files.h"
#include "gateway/policy/policy.h"
#include "gateway/policy/proxy_rule.h"
#include "gateway/policy/string_list.h"
#include "gateway/policy/suggestion.h"
#include "gateway/policy/warm_rule.h"

namespace sallyport::gateway {
namespace {

constexpr std::string_view kTopLevel[] = {"routes", "credentials", "trust"};
constexpr std::string_view kOfClients[] = {"sni",         "alpn", "allow", "allow-any-verified",
                                           "credentials", "trust"};
constexpr Balance kBalances[] = {Balance::kRoundRobin, Balance::kLeastConnections,
                                 Balance::kPowerOfTwo, Balance::kHashIdentity};
constexpr Truncation kTruncations[] = {Truncation::kReset, Truncation::kClose};

using Outcome = JsonReader::Outcome;

// "a.b", "*.b": lower case, without the trailing dot, as choose() will see the client's.
std::expected<std::string, std::string> parse_sni(std::string_view text) {
  std::string_view name = text;
  if (name.ends_with('.')) name.remove_suffix(1);
  const bool wildcard = name.starts_with("*.");
  const std::string_view labels = wildcard ? name.substr(2) : name;
  if (labels.find('*') != std::string_view::npos) {
    return std::unexpected("'*' can only be the whole leftmost label, before a name");
  }
  if (is_ip_literal(name)) {
    return std::unexpected("an IP address is never matched: it counts as no SNI");
  }
  if (!is_host_name(labels, Underscore::kAllowed)) {
    return std::unexpected("'" + printable(text) + "' is no host name");
  }
  return ascii_lower(name);
}

// The first, which tells the others.
ConfigError one_of_all(std::vector<ConfigError> errors) {
  constexpr std::size_t kMostTold = 10;
  ConfigError all = std::move(errors.front());
  for (std::size_t i = 1; i < std::min(errors.size(), kMostTold); ++i)
    all.what += "; " + errors[i].to_string();
  if (errors.size() > kMostTold)
    all.what += "; and " + std::to_string(errors.size() - kMostTold) + " more routes are wrong";
  return all;
}

class PolicyReader : JsonReader {
 public:
  using JsonReader::JsonReader;

  std::expected<Policy::Pointer, ConfigError> read(const JsonValue& root);

 private:
  std::expected<Route, ConfigError> read_route(const JsonMember& member, const std::string& key);
  std::expected<Route, ConfigError> check_egress(Route route, const JsonMember& member,
                                                 const std::string& key) const;
  Known read_key(Route& route, const ReadMember& member, const std::string& key);
  Outcome read_sni(Route& route, const JsonValue& value, const std::string& key);
  Outcome read_alpn(Route& route, const JsonValue& value, const std::string& key);
  template <class Enumerator, std::size_t N>
  Outcome read_policy_word(Enumerator& target, const Enumerator (&all)[N], const JsonValue& value,
                           const std::string& key) const {
    return read_word(target, all, [](Enumerator each) { return to_string(each); }, value, key);
  }
  std::size_t place_of(RouteFiles files);

  NamedFiles named_;
  std::vector<RouteFiles> files_ = {RouteFiles{}};  // the flags' first; none twice
};

std::expected<Policy::Pointer, ConfigError> PolicyReader::read(const JsonValue& root) {
  const JsonValue::Object* top = root.object();
  if (!top) {
    return refuse(root.line, "",
                  "must be an object with \"routes\", not " + std::string(root.kind()));
  }
  for (const JsonMember& member : *top) {
    if (std::ranges::find(kTopLevel, member.key) != std::end(kTopLevel)) continue;
    return refuse(member.line, printable(member.key),
                  "unknown key" + did_you_mean(member.key, kTopLevel));
  }
  const JsonValue* routes = root.find("routes");
  if (!routes) return refuse(root.line, "", "\"routes\" is missing");
  const JsonValue::Object* members = routes->object();
  if (!members) {
    return refuse(routes->line, "routes", "must be an object, not " + std::string(routes->kind()));
  }
  if (members->empty()) return refuse(routes->line, "routes", "names no route");
  auto named = NamedFiles::read(*this, root);
  if (!named) return std::unexpected(std::move(named.error()));
  named_ = *std::move(named);

  std::vector<Route> result;
  std::vector<ConfigError> errors;
  for (const JsonMember& member : *members) {
    auto route = read_route(member, "routes." + printable(member.key));
    if (route) {
      result.push_back(*std::move(route));
    } else {
      errors.push_back(std::move(route.error()));
    }
  }
  if (!errors.empty()) return std::unexpected(one_of_all(std::move(errors)));
  if (auto used = named_.check_use(*this); !used) return std::unexpected(std::move(used.error()));
  auto policy = Policy::build(std::move(result), std::move(files_));
  if (policy) return std::move(*policy);

  const RouteConflict& conflict = policy.error();
  const JsonMember& member = (*members)[conflict.route];
  std::string key = "routes." + printable(member.key);
  unsigned line = member.line;
  if (conflict.sni) {
    key = item_key(key + ".sni", *conflict.sni);
    line = (*member.value.find("sni")->array())[*conflict.sni].line;
  }
  return refuse(line, std::move(key), conflict.what);
}

std::expected<Route, ConfigError> PolicyReader::read_route(const JsonMember& member,
                                                           const std::string& key) {
  if (!is_route_name(member.key)) {
    return refuse(member.line, key, "a route's name has 1 to 255 bytes and no control characters");
  }
  Route route;
  route.name = member.key;
  RouteFiles files;
  RouteFiles backend_files;
  auto read = read_object(member.value, key,
                          [&](const ReadMember& inner, const std::string& place) -> Known {
                            if (inner.is("credentials"))
                              return named_.choose_credentials(*this, files, inner.value, place);
                            if (inner.is("trust"))
                              return named_.choose_trust(*this, files, inner.value, place);
                            if (inner.is("backend-tls"))
                              return read_backend_tls(*this, named_, route.backend_tls,
                                                      backend_files, inner.value, place);
                            return read_key(route, inner, place);
                          });
  if (!read) return std::unexpected(std::move(read.error()));
  if (route.endpoint_rules.end_when_down && !route.endpoint_rules.health)
    return refuse(member.line, key, "\"end-when-down\" needs \"health\"");
  if (route.warm && route.backend_tls) {
    // Neither is known before there is a client.
    const std::string place = key + ".warm";
    const unsigned line = member.value.find("warm")->line;
    if (route.proxy)
      return refuse(line, place, "beside \"backend-tls\" there can be no \"proxy-protocol\"");
    if (route.backend_tls->forward_alpn)
      return refuse(line, place, "there can be no \"alpn\": \"forward\" in \"backend-tls\"");
  }
  route.files = place_of(std::move(files));
  if (route.backend_tls) route.backend_tls->files = place_of(std::move(backend_files));
  if (route.egress) return check_egress(std::move(route), member, key);
  if (route.allow.empty() && !route.allow_any_verified) {
    return refuse(member.line, key, "needs \"allow\" or \"allow-any-verified\": true");
  }
  if (!route.allow.empty() && route.allow_any_verified) {
    return refuse(member.line, key,
                  "has both \"allow\" and \"allow-any-verified\"; they exclude each other");
  }
  return route;
}

// There is no client's handshake that they would be about.
std::expected<Route, ConfigError> PolicyReader::check_egress(Route route, const JsonMember& member,
                                                             const std::string& key) const {
  for (const JsonMember& inner : *member.value.object()) {
    if (std::ranges::find(kOfClients, inner.key) == std::end(kOfClients)) continue;
    return refuse(inner.line, key + "." + inner.key,
                  "is for clients of a --listen, and none reaches a route with \"egress\"");
  }
  if (!route.backend_tls) return refuse(member.line, key, "\"egress\" needs \"backend-tls\"");
  if (route.backend_tls->forward_alpn)
    return refuse(member.line, key + ".backend-tls.alpn",
                  "no protocol is confirmed to an application that could be forwarded");
  return route;
}

std::size_t PolicyReader::place_of(RouteFiles files) {
  const auto known = std::ranges::find(files_, files);
  const auto place = static_cast<std::size_t>(known - files_.begin());
  if (known == files_.end()) files_.push_back(std::move(files));
  return place;
}

JsonReader::Known PolicyReader::read_key(Route& route, const ReadMember& member,
                                         const std::string& key) {
  const JsonValue& value = member.value;
  if (member.is("sni")) return read_sni(route, value, key);
  if (member.is("alpn")) return read_alpn(route, value, key);
  if (member.is("allow")) return read_patterns(*this, route.allow, value, key);
  if (member.is("balance")) return read_policy_word(route.balance, kBalances, value, key);
  if (member.is("truncation")) return read_policy_word(route.truncation, kTruncations, value, key);
  if (member.is("allow-any-verified")) return read_bool(route.allow_any_verified, value, key);
  if (member.is("egress")) return read_bool(route.egress, value, key);
  if (member.is("allow-empty")) return read_bool(route.allow_empty, value, key);
  if (member.is("proxy-protocol")) return read_proxy_rule(*this, route.proxy, value, key);
  if (member.is("warm")) return read_warm_rule(*this, route.warm, value, key);
  Known known = read_endpoint_rule(*this, route.endpoint_rules, member, key);
  return known ? known : read_limit_rule(*this, route.limits, member, key);
}

Outcome PolicyReader::read_sni(Route& route, const JsonValue& value, const std::string& key) {
  if (auto checked = check_strings(value, key); !checked) return checked;
  std::set<std::string, std::less<>> seen;
  for (const JsonValue& item : *value.array()) {
    const std::string place = item_key(key, route.sni.size());
    auto name = parse_sni(*item.string());
    if (!name) return refuse(item.line, place, std::move(name.error()));
    if (!seen.insert(*name).second) return refuse(item.line, place, "is listed twice");
    route.sni.push_back(std::move(*name));
  }
  return {};
}

Outcome PolicyReader::read_alpn(Route& route, const JsonValue& value, const std::string& key) {
  if (value.array() != nullptr && value.array()->empty()) {
    route.takes_no_offer = true;  // no protocol is spoken here
    return {};
  }
  return read_protocols(*this, route.alpn, value, key);
}

}  // namespace

std::expected<Policy::Pointer, ConfigError> parse_policy(std::string_view text,
                                                         std::string_view file) {
  const auto root = parse_json(text, file);
  if (!root) return std::unexpected(root.error());
  return PolicyReader(file).read(*root);
}

}  // namespace sallyport::gateway
