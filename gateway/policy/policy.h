#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/policy/backend_tls.h"
#include "gateway/policy/config_error.h"
#include "gateway/policy/endpoint_rules.h"
#include "gateway/policy/limit_rules.h"
#include "gateway/policy/pattern.h"
#include "gateway/policy/proxy_rule.h"
#include "gateway/policy/route_files.h"
#include "gateway/policy/string_hash.h"
#include "gateway/policy/warm_rule.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {

enum class Balance { kRoundRobin, kLeastConnections, kPowerOfTwo, kHashIdentity };
/// What the other side gets when a TLS peer ends without close_notify: a reset, or a clean end.
enum class Truncation { kReset, kClose };

std::string_view to_string(Balance balance);        ///< the word of the policy file
std::string_view to_string(Truncation truncation);  ///< the word of the policy file

struct Route {
  std::string name;
  std::vector<std::string> sni;   ///< lower case, "a.b" or "*.b"; empty = any or none
  std::vector<std::string> alpn;  ///< in our order of preference
  /// Takes clients that offer no protocol: beside those that share one of `alpn`; with an empty
  /// `alpn` them alone. Off, with an empty `alpn`: the offer is not looked at.
  bool takes_no_offer = false;
  std::vector<IdentityPattern> allow;  ///< empty if allow_any_verified or egress, else not
  bool allow_any_verified = false;
  std::vector<std::string> trust_domains;  ///< of `allow`, sorted, each once; by Policy::build()
  Balance balance = Balance::kRoundRobin;
  Truncation truncation = Truncation::kReset;
  ktls::Sha256 name_hash{};  ///< of `name`; by Policy::build()
  std::size_t files = 0;     ///< its credentials and trust: where in Policy::files()
  bool allow_empty = false;  ///< an update of the discovery file may take all its endpoints
  EndpointRules endpoint_rules;
  LimitRules limits;
  std::optional<ProxyRule> proxy = {};  ///< its backends get a PROXY header of this kind
  bool egress = false;  ///< for local applications: no client of a --listen reaches it
  std::optional<BackendTls> backend_tls = {};  ///< TLS to its backends; none: plaintext
  std::optional<WarmRule> warm = {};  ///< what is kept ready of each endpoint; none: nothing
};

/// Whether its backends get the client's certificate.
inline bool passes_certificate(const Route& route) {
  return route.proxy && route.proxy->has(ProxyTlv::kClientCert);
}

/// The trust domains whose SPIFFE IDs may pass; null: any.
inline const std::vector<std::string>* allowed_domains(const Route& route) {
  return route.allow_any_verified ? nullptr : &route.trust_domains;
}

/// What flags say of every route, where there is no policy file.
struct FlagRules {
  std::vector<IdentityPattern> allow;  ///< parsed; empty exactly if allow_any_verified
  bool allow_any_verified = false;
  /// --alpn: protocols that are spoken, in our order; none of them: a client that offers any is
  /// refused. A client that offers none is served in either case. Unset: the offer is not looked
  /// at.
  std::optional<std::vector<std::string>> alpn = {};
  Truncation truncation = Truncation::kReset;
};

/// Why two routes conflict, and which: the reader of the file adds the line.
struct RouteConflict {
  std::size_t route = 0;           ///< index of the later of the two
  std::optional<std::size_t> sni;  ///< index in its `sni`; none: it has no `sni`
  std::string what;
};

/// All routes of one generation, immutable: shared between shards without locks. `Route` pointers
/// are stable as long as the Policy lives: hold one only beside its Policy.
class Policy {
 public:
  using Pointer = std::shared_ptr<const Policy>;
  /// The routes under one name.
  struct Candidates {
    std::vector<const Route*> with_alpn;   ///< in file order
    const Route* without_offer = nullptr;  ///< for clients that offer no protocol
    const Route* without_alpn = nullptr;   ///< for any offer

    [[nodiscard]] bool empty() const {
      return with_alpn.empty() && without_offer == nullptr && without_alpn == nullptr;
    }
  };

  /// Without a policy file: one label takes any SNI or none, with several each takes the SNI of
  /// its own name, so that each must then be a host name (an error names `discovery_file`, with
  /// line 0). No label: a policy without routes, which refuses every client.
  static std::expected<Pointer, ConfigError> from_flags(const FlagRules& rules,
                                                        std::span<const std::string> route_labels,
                                                        std::string_view discovery_file = {});

  /// From routes that are valid each by itself. Refuses routes that conflict: the same (sni, alpn)
  /// twice, or two without sni.
  static std::expected<Pointer, RouteConflict> build(std::vector<Route> routes,
                                                     std::vector<RouteFiles> files = {
                                                         RouteFiles{}});

  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  std::span<const Route> routes() const { return routes_; }
  /// What its routes present and trust, none twice: first what the flags name, used or not.
  std::span<const RouteFiles> files() const { return files_; }
  const Route* find(std::string_view route_name) const;  ///< nullptr: unknown
  /// Whether live connections of any route are judged by what the discovery file says of their
  /// endpoints.
  bool judges_endpoints() const { return judges_endpoints_; }
  [[nodiscard]] bool names(const RouteFiles& files) const;  ///< whether files() has them

  /// Lookup for choose(); `name` in lower case. nullptr: no route has it.
  const Candidates* exact(std::string_view name) const;
  const Candidates* wildcard(std::string_view parent) const;  ///< routes of "*.parent"
  const Candidates& without_sni() const { return without_sni_; }

  /// Trust domains that rules name, sorted, each once. Unscoped --ca bundles beside more than one
  /// of them are an error that the reader of the flags raises.
  const std::vector<std::string>& trust_domains() const { return trust_domains_; }

 private:
  using ByName = std::unordered_map<std::string, Candidates, StringHash, std::equal_to<>>;

  Policy() = default;
  std::expected<void, RouteConflict> index();

  std::vector<Route> routes_;
  std::vector<RouteFiles> files_;
  std::unordered_map<std::string_view, const Route*> by_route_name_;
  ByName exact_, wildcard_;
  Candidates without_sni_;
  std::vector<std::string> trust_domains_;
  bool judges_endpoints_ = false;
};

/// Reads the policy file (docs: policy file). The error names file, line and key, for each wrong
/// route: the further ones in `what`. Nothing of the file is then used. `file` is for the errors.
std::expected<Policy::Pointer, ConfigError> parse_policy(std::string_view text,
                                                         std::string_view file);

}  // namespace sallyport::gateway
