#include "gateway/run/config.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "gateway/backends/discovery_update.h"
#include "gateway/policy/pattern.h"
#include "gateway/run/credentials_review.h"
#include "gateway/run/crl_rollback.h"
#include "ktls/handshake/server_context.h"
#include "ktls/trust/credential_file.h"
#include "ktls/trust/key_file.h"

namespace sallyport::gateway {
namespace {

// The holder of a ticket secret can forge any identity: one that leaked is worth nothing two days
// later.
constexpr std::chrono::hours kTicketSecretAge{24};

constexpr std::size_t kLargestFileMib = 256;

std::expected<std::string, std::string> read_text(const std::string& file) {
  const auto text = ktls::read_file(file, ktls::FileRules::kPublic, kLargestFileMib);
  if (!text) return std::unexpected(text.error().message());
  return std::string((*text)->view());
}

// The directory itself changes as well, by its mode.
void add_source(std::vector<std::filesystem::path>& files, const std::string& path) {
  const auto found = ktls::files_of(path);
  const bool is_file = found && found->size() == 1 && found->front() == path;
  files.emplace_back(path);
  if (found && !is_file) files.insert(files.end(), found->begin(), found->end());
}

std::chrono::sys_seconds now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

bool same_names(const Policy& one, const Policy& other) {
  return std::ranges::equal(one.routes(), other.routes(), {}, &Route::name, &Route::name);
}

// How many routes of the file can be reached.
std::size_t routes_of(const Discovery& discovery, const Policy* policy) {
  return static_cast<std::size_t>(std::ranges::count_if(
      discovery.routes,
      [&](const DiscoveredRoute& route) { return !policy || policy->find(route.name); }));
}

}  // namespace

std::vector<Finding> Config::review(const ktls::Credentials& credentials,
                                    const Policy& policy) const {
  std::vector<Finding> findings = review_trust(credentials, policy);
  if (options_.policy.empty()) return findings;  // names are then labels of the discovery file
  if (options_.explain) return findings;         // without certificates of our own
  std::ranges::move(review_names(credentials, policy), std::back_inserter(findings));
  return findings;
}

std::string_view to_string(Source source) {
  constexpr std::array<std::string_view, kSources> kWords{"credentials", "policy", "discovery"};
  return kWords[static_cast<std::size_t>(source)];
}

std::string SourceOutcome::complaint() const {
  if (error) return *error;
  std::string all;
  for (const RefusedRoute& each : refused_routes) all += each.route + ": " + each.error.what + "\n";
  return all;
}

Config::Config(const Options& options)
    : options_(options),
      process_tickets_(ktls::TicketSecrets::random()),
      tickets_made_(std::chrono::steady_clock::now()) {}

void Config::renew_ticket_secret(std::chrono::steady_clock::time_point now) {
  if (!options_.ticket_keys.empty() || now - tickets_made_ < kTicketSecretAge) return;
  process_tickets_ = ktls::TicketSecrets::renewed(*process_tickets_);
  tickets_made_ = now;
  accepted_[static_cast<std::size_t>(Source::kCredentials)].reset();
}

bool Config::complete() const {
  return credentials_ && policy_ && discovery_;
}

const Config::Reload& Config::reload(bool force) {
  Attempt attempt = look(force);
  read_credentials(attempt);
  if (options_.policy.empty()) {
    read_discovery(attempt);
    read_policy(attempt);
    fit_together(attempt);
  } else {
    read_policy(attempt);
    fit_together(attempt);
    read_discovery(attempt);  // which the policy that will be in force judges
  }
  take(std::move(attempt));
  if (latest_.changed || force) oddities_ = find_oddities();
  return latest_;
}

Config::Attempt Config::look(bool force) const {
  Attempt attempt{.forced = force, .result = {}, .next = {credentials_, policy_, discovery_}};
  for (std::size_t i = 0; i < kSources; ++i) {
    SourceOutcome& outcome = attempt.result.outcomes[i];
    outcome.files = fingerprint(files(static_cast<Source>(i)));
    outcome.read = force || accepted_[i] != outcome.files;
  }
  return attempt;
}

void Config::read_credentials(Attempt& attempt) const {
  if (!attempt.of(Source::kCredentials).read) return;
  auto loaded = load_credentials();
  if (!loaded) return attempt.fail(Source::kCredentials, std::move(loaded.error()));
  auto older = credentials_ ? crl_rollback(*credentials_, **loaded) : std::nullopt;
  // An old list in the place of a newer one takes revocations back. An operator may want that.
  if (older && !attempt.forced)
    return attempt.fail(Source::kCredentials, *older + "; SIGHUP takes it");
  attempt.result.older_list = std::move(older);
  if (credentials_) (*loaded)->share_issuers(*credentials_);
  // Equal ones stay, since shards have chains that were verified under them.
  if (!is_in_force(Source::kCredentials, attempt)) attempt.next.credentials = *std::move(loaded);
}

void Config::read_policy(Attempt& attempt) const {
  const Source source = policy_source();
  if (!attempt.of(source).read || attempt.of(source).error) return;
  auto loaded = load_policy(attempt.next.discovery);
  if (!loaded) return refuse_policy(attempt, std::move(loaded.error()));
  // Without a policy file the routes alone can differ.
  const bool equal = options_.policy.empty() ? policy_ && same_names(**loaded, *policy_)
                                             : is_in_force(source, attempt);
  if (!equal) attempt.next.policy = *std::move(loaded);
}

// Without a policy file it is made of the discovery file.
void Config::refuse_policy(Attempt& attempt, std::string why) const {
  attempt.fail(policy_source(), std::move(why));
  attempt.next.policy = policy_;
  if (options_.policy.empty()) attempt.next.discovery = discovery_;
}

// Each is valid by itself; credentials and policy must also fit together. Of two that do not, one
// is taken if it fits what is in force of the other: first the credentials, since certificates must
// not run out for want of a good policy.
void Config::fit_together(Attempt& attempt) const {
  const auto misfit = [this](const Candidate& pair) {
    return pair.credentials && pair.policy
               ? join(review(*pair.credentials, *pair.policy), Finding::Effect::kRefusesAll)
               : "";
  };
  Candidate& next = attempt.next;
  const std::string why = misfit(next);
  if (why.empty()) return;
  const bool keeps_credentials = policy_ && misfit({next.credentials, policy_, {}}).empty();
  const bool keeps_policy =
      !keeps_credentials && credentials_ && misfit({credentials_, next.policy, {}}).empty();
  if (!keeps_policy && next.policy != policy_) refuse_policy(attempt, why);
  if (!keeps_credentials && next.credentials != credentials_) {
    attempt.fail(Source::kCredentials, why);
    next.credentials = credentials_;
  }
}

// Another policy may judge the same file in another way.
void Config::read_discovery(Attempt& attempt) const {
  SourceOutcome& outcome = attempt.of(Source::kDiscovery);
  const bool other_policy = attempt.next.policy != policy_;
  if (!outcome.read && !other_policy) return;
  auto loaded = load_discovery(options_.policy.empty() ? nullptr : attempt.next.policy.get());
  if (!loaded) return attempt.fail(Source::kDiscovery, std::move(loaded.error()));
  for (const DiscoveredRoute* route : loaded->refused()) {
    outcome.refused_routes.push_back({route->name, *route->refused});
  }
  outcome.read = outcome.read || outcome.refused();
  attempt.next.discovery = *std::move(loaded);
}

void Config::take(Attempt attempt) {
  Candidate& next = attempt.next;
  Reload& result = attempt.result;
  result.changed =
      next.credentials != credentials_ || next.policy != policy_ || next.discovery != discovery_;
  result.routes_split = options_.policy.empty() && policy_ && policy_->routes().size() == 1 &&
                        next.policy->routes().size() > 1;
  for (std::size_t i = 0; i < kSources; ++i) {
    const SourceOutcome& outcome = result.outcomes[i];
    if (outcome.read && !outcome.error) accepted_[i] = outcome.files;
  }
  credentials_ = std::move(next.credentials);
  policy_ = std::move(next.policy);
  discovery_ = std::move(next.discovery);
  // A file of which a route is refused is not in force as it is.
  if (discovery_ && !discovery_->refused().empty())
    accepted_[static_cast<std::size_t>(Source::kDiscovery)].reset();
  latest_ = std::move(result);
}

bool Config::is_in_force(Source source, const Attempt& attempt) const {
  return accepted_[static_cast<std::size_t>(source)] == attempt.result.of(source).files;
}

Source Config::policy_source() const {
  return options_.policy.empty() ? Source::kDiscovery : Source::kPolicy;
}

std::vector<std::filesystem::path> Config::files(Source source) const {
  std::vector<std::filesystem::path> files;
  switch (source) {
    case Source::kCredentials:
      for (const auto& pair : options_.pairs) {
        files.emplace_back(pair.cert);
        files.emplace_back(pair.key);
      }
      for (const auto& bundle : options_.ca) add_source(files, bundle.file);
      for (const auto& crl : options_.crl) add_source(files, crl);
      if (!options_.ticket_keys.empty()) files.emplace_back(options_.ticket_keys);
      break;
    case Source::kPolicy:
      if (!options_.policy.empty()) files.emplace_back(options_.policy);
      break;
    case Source::kDiscovery:
      files.emplace_back(options_.discovery);
      break;
  }
  return files;
}

std::vector<std::string> Config::secret_files() const {
  std::vector<std::string> files;
  files.reserve(options_.pairs.size() + 1);
  for (const auto& pair : options_.pairs) files.push_back(pair.key);
  if (!options_.ticket_keys.empty()) files.push_back(options_.ticket_keys);
  return files;
}

std::vector<std::filesystem::path> Config::directories() const {
  std::set<std::filesystem::path> directories;
  for (std::size_t i = 0; i < kSources; ++i) {
    for (const auto& file : files(static_cast<Source>(i))) {
      const auto parent = file.parent_path();
      directories.insert(parent.empty() ? std::filesystem::path(".") : parent);
      // A file that is a link is written to where the link points.
      std::error_code error;
      const auto real = std::filesystem::canonical(file, error);
      if (error) continue;
      directories.insert(real.parent_path());
      if (std::filesystem::is_directory(real, error)) directories.insert(real);
    }
  }
  return {directories.begin(), directories.end()};
}

std::expected<std::shared_ptr<const ktls::Credentials>, std::string> Config::load_credentials()
    const {
  ktls::CredentialFiles files;
  for (const auto& pair : options_.pairs) files.pairs.push_back({pair.cert, pair.key});
  for (const auto& bundle : options_.ca) files.ca.push_back({bundle.trust_domain, bundle.file});
  files.crls = options_.crl;
  if (!options_.ticket_keys.empty()) files.ticket_keys = options_.ticket_keys;
  files.trust_only = options_.explain.has_value();

  ktls::HandshakeSettings settings;
  settings.accept_expired_crl = options_.crl_expired == Options::CrlExpired::kAccept;
  settings.client_eku = options_.client_eku;
  settings.partial_chain = options_.partial_chain;
  settings.min_version = options_.min_tls;
  settings.ciphersuites = options_.ciphersuites;
  settings.groups = options_.groups;
  settings.tickets = options_.tickets;
  settings.ticket_max_age =
      std::chrono::duration_cast<std::chrono::seconds>(options_.ticket_max_age);
  settings.process_tickets = process_tickets_;
  settings.tuned_openssl = options_.openssl_tuning;

  auto loaded = ktls::load_usable_credentials(files, std::move(settings));
  if (!loaded) return std::unexpected(loaded.error().message());
  std::string why = join(review_credentials(**loaded, now()), Finding::Effect::kRefusesAll);
  if (!why.empty()) return std::unexpected(std::move(why));
  return *std::move(loaded);
}

std::expected<Policy::Pointer, std::string> Config::load_policy(
    const std::optional<Discovery>& discovery) const {
  if (!options_.policy.empty()) {
    auto text = read_text(options_.policy);
    if (!text) return std::unexpected(std::move(text.error()));
    auto policy = parse_policy(*text, options_.policy);
    if (!policy) return std::unexpected(policy.error().to_string());
    return *std::move(policy);
  }
  FlagRules rules{.allow = {},
                  .allow_any_verified = options_.allow_any_verified,
                  .alpn = options_.alpn,
                  .truncation = options_.truncation};
  for (const std::string& text : options_.allow) {
    auto pattern = IdentityPattern::parse(text);
    if (!pattern) return std::unexpected("--allow " + text + ": " + pattern.error());
    rules.allow.push_back(*std::move(pattern));
  }
  const auto labels = discovery ? discovery->route_labels() : std::vector<std::string>{};
  auto policy = Policy::from_flags(rules, labels, options_.discovery);
  if (!policy) return std::unexpected(policy.error().to_string());
  return *std::move(policy);
}

std::expected<Discovery, std::string> Config::load_discovery(const Policy* policy) const {
  auto text = read_text(options_.discovery);
  if (!text) return std::unexpected(std::move(text.error()));
  auto read = parse_discovery(*text, options_.discovery);
  if (!read) return std::unexpected(read.error().to_string());
  const std::size_t named = read->routes.size();
  Discovery next = update_discovery(discovery_ ? &*discovery_ : nullptr, *std::move(read),
                                    {.allow_empty = options_.discovery_allow_empty,
                                     .max_removal_percent = options_.discovery_max_removal_percent,
                                     .policy = policy});
  // The labels are then the routes, and without any every client would be refused.
  if (!policy && next.routes.empty() && !options_.discovery_allow_empty) {
    return std::unexpected(options_.discovery +
                           ": no group has a route label, so every client would be refused; "
                           "--discovery-allow-empty accepts this");
  }
  const auto refused = next.refused();
  if (refused.empty()) return next;
  // The only route would take no SNI but its own name any more, once it stands beside another one.
  const bool renamed = !policy && named == 1 && next.routes.size() == 2;
  const bool none_good = !discovery_ && refused.size() == routes_of(next, policy);
  if (renamed || none_good) return std::unexpected(refused.front()->refused->to_string());
  return next;
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
  for (const std::string& file : secret_files()) {
    if (auto readers = ktls::key_file_readers(file)) add(*std::move(readers));
  }
  if (!complete()) return found;
  for (const std::string& warning : credentials_->warnings()) add(warning);
  std::ranges::move(review(*credentials_, *policy_), std::back_inserter(found));
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
  for (const DiscoveredRoute& route : discovery_->routes) {
    if (policy_->find(route.name) != nullptr) continue;
    add("route " + route.name + " of the discovery file is not in the policy file: unreachable");
  }
  return found;
}

std::vector<Finding> Config::findings() const {
  std::vector<Finding> all = oddities_;
  if (!complete()) return all;
  std::ranges::move(review_credentials(*credentials_, now()), std::back_inserter(all));
  return all;
}

}  // namespace sallyport::gateway
