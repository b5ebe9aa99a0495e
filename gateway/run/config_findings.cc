// What is odd about a configuration that is in force, or about to be.
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include "gateway/observe/timestamp.h"
#include "gateway/run/config.h"
#include "ktls/handshake/server_context.h"
#include "ktls/trust/key_file.h"

namespace sallyport::gateway {
namespace {

// Endpoints of --state-dir are warned of from then on.
constexpr std::chrono::hours kOldState{24};

}  // namespace

std::vector<Finding> Config::review(const CredentialsTable& credentials,
                                    const Policy& policy) const {
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < policy.files().size(); ++i) {
    const CredentialsTable::Entry* const entry = credentials.find(policy.files()[i]);
    if (entry == nullptr) {
      findings.push_back({Finding::Effect::kRefusesAll, "credentials of routes are missing"});
      continue;
    }
    add_new(findings, review_trust(*entry->credentials, policy, i));
    if (options_.policy.empty()) continue;  // names are then labels of the discovery file
    if (options_.explain) continue;         // without certificates of our own
    add_new(findings, review_names(*entry->credentials, policy, i));
  }
  return findings;
}

std::vector<Finding> Config::find_oddities() const {
  std::vector<Finding> found;
  const auto add = [&found](std::string text, std::string place = {}) {
    found.push_back({Finding::Effect::kNoneYet, std::move(text), std::move(place)});
  };
  for (const LiveCause cause :
       {LiveCause::kRevoked, LiveCause::kUntrusted, LiveCause::kNotAuthorized}) {
    if (!contains(options_.keep_live, cause)) continue;
    add("--keep-live " + std::string(to_string(cause)) +
        ": live connections with this cause are kept");
  }
  for (const iouring::IpNetwork& network : options_.accept_proxy) {
    if (!network.is_everything()) continue;
    add("--accept-proxy " + network.to_string() + ": whoever can connect can claim any address");
  }
  for (const std::string& file : secret_files()) {
    if (auto readers = ktls::key_file_readers(file)) add(*std::move(readers));
  }
  if (!complete()) return found;
  for (const CredentialsTable::Entry& entry : credentials_.entries()) {
    std::vector<Finding> warnings;
    for (const std::string& warning : entry.credentials->warnings())
      warnings.push_back({Finding::Effect::kNoneYet, warning});
    add_new(found, std::move(warnings));
  }
  add_new(found, review(credentials_, *policy_));
  for (const ConfigError& warning : discovery_->warnings) add(warning.what, warning.place());
  if (policy_->routes().empty()) {
    add("no group of the discovery file has a route label: every client is refused");
  }
  for (const Route& route : policy_->routes()) {
    const DiscoveredRoute* discovered = discovery_->find(route.name);
    const bool has_endpoints = discovered && !discovered->targets.empty();
    const bool told = discovered && discovered->refused;
    if (has_endpoints || told || route.allow_empty || options_.discovery_allow_empty) continue;
    add("route " + route.name + " has no endpoint in the discovery file");
  }
  if (options_.policy.empty()) return found;
  for (const Route& route : policy_->routes()) {
    if (!route.endpoint_rules.prefer_zone || !options_.zone.empty()) continue;
    add("route " + route.name + " has \"prefer-zone\", and without --zone no zone is preferred");
  }
  for (const EgressAddress& egress : options_.egress) {
    if (policy_->find(egress.route)->egress) continue;
    add("--egress " + egress.text +
        ": its route lacks \"egress\": true, so that applications of "
        "this machine reach it without its \"allow\"");
  }
  for (const DiscoveredRoute& route : discovery_->routes) {
    if (policy_->find(route.name) != nullptr) continue;
    add("route " + route.name + " of the discovery file is not in the policy file: unreachable");
  }
  return found;
}

std::vector<Finding> Config::findings() const {
  std::vector<Finding> all = oddities_;
  if (!complete()) return all;
  if (const auto as_of = kept_as_of(); as_of && ktls::wall_clock_now() - *as_of > kOldState) {
    all.push_back({Finding::Effect::kNoneYet,
                   "endpoints of --state-dir are used, which are older than 24 hours: of " +
                       rfc3339(*as_of)});
  }
  for (const CredentialsTable::Entry& entry : credentials_.entries()) {
    std::vector<Finding> found = review_credentials(*entry.credentials, ktls::wall_clock_now(),
                                                    presented_to(policy_.get(), entry.named));
    for (Finding& each : found) {
      // Of some routes, and others have their own.
      if (entry.named != RouteFiles{} && each.effect == Finding::Effect::kRefusesAll)
        each.effect = Finding::Effect::kRefusesSome;
    }
    add_new(all, std::move(found));
  }
  return all;
}

}  // namespace sallyport::gateway
