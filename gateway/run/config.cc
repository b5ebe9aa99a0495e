#include "gateway/run/config.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <set>
#include <span>
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

std::expected<std::string, std::string> read_text(const std::string& file,
                                                  struct stat* status = nullptr) {
  const auto text = ktls::read_file(file, ktls::FileRules::kPublic, kLargestFileMib, status);
  if (!text) return std::unexpected(text.error().message());
  return std::string((*text)->view());
}

bool same_names(const Policy& one, const Policy& other) {
  return std::ranges::equal(one.routes(), other.routes(), {}, &Route::name, &Route::name);
}

// What applications of this machine send leaves it under TLS or not at all.
std::optional<std::string> why_no_egress(const Options& options, const Policy& policy) {
  for (const EgressAddress& egress : options.egress) {
    const Route* const route = policy.find(egress.route);
    if (route == nullptr)
      return options.policy + ": has no route '" + egress.route + "', which --egress " +
             egress.text + " names";
    if (!route->backend_tls)
      return options.policy + ": route '" + egress.route +
             "' has no \"backend-tls\", and --egress " + egress.text + " names it";
    if (route->proxy && route->proxy->has(ProxyTlv::kClientCert))
      return options.policy + ": route '" + egress.route +
             "' tells its backends the client's certificate (\"client_cert\"), which an "
             "application has not, and --egress " +
             egress.text + " names it";
  }
  for (const Route& route : policy.routes()) {
    const bool lacks = route.backend_tls && route.backend_tls->presents_certificate &&
                       route.backend_tls->credentials.empty() && options.pairs.empty();
    if (lacks && !options.explain)
      return options.policy + ": route '" + route.name +
             "' presents the certificate of --cert to its backends, and none is given; "
             "\"credentials\" of its \"backend-tls\" names another, or \"none\"";
  }
  return std::nullopt;
}

// How many routes of the file can be reached.
std::size_t routes_of(const Discovery& discovery, const Policy* policy) {
  return static_cast<std::size_t>(std::ranges::count_if(
      discovery.routes,
      [&](const DiscoveredRoute& route) { return !policy || policy->find(route.name); }));
}

}  // namespace

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
  CredentialsTable unread;
  for (CredentialsTable::Entry each : credentials_.entries()) {
    each.files = {};
    unread.set(std::move(each));
  }
  credentials_ = std::move(unread);
}

void Config::begin_with(KeptDiscovery kept) {
  trail_.begin_with(kept.discovery, ktls::wall_clock_now());
  kept_ = std::move(kept);
}

std::optional<std::chrono::sys_seconds> Config::kept_as_of() const {
  if (!kept_ || !discovery_) return std::nullopt;
  return kept_->as_of;
}

const Discovery* Config::last_good_discovery() const {
  if (discovery_) return &*discovery_;
  return kept_ ? &kept_->discovery : nullptr;
}

bool Config::complete() const {
  return credentials() && policy_ && discovery_;
}

std::vector<CredentialsTable::Pointer> Config::all_credentials() const {
  std::vector<CredentialsTable::Pointer> all;
  for (const RouteFiles& named : policy_->files())
    all.push_back(credentials_.find(named)->credentials);
  return all;
}

std::vector<CredentialsTable::Pointer> Config::named_credentials() const {
  std::vector<CredentialsTable::Pointer> named = all_credentials();
  named.erase(named.begin());
  return named;
}

const Config::Reload& Config::reload(bool force) {
  Attempt attempt = look(force);
  if (options_.policy.empty()) {
    read_discovery(attempt);
    read_policy(attempt);
    read_credentials(attempt);
    fit_together(attempt);
    conclude_credentials(attempt);
  } else {
    read_policy(attempt);
    read_credentials(attempt);
    fit_together(attempt);
    conclude_credentials(attempt);
    read_discovery(attempt);  // which the policy that will be in force judges
  }
  take(std::move(attempt));
  if (latest_.changed || force) oddities_ = find_oddities();
  return latest_;
}

Config::Attempt Config::look(bool force) const {
  Attempt attempt;
  attempt.forced = force;
  attempt.next = {credentials_, policy_, discovery_};
  for (std::size_t i = 0; i < kSources; ++i) {
    SourceOutcome& outcome = attempt.result.outcomes[i];
    outcome.files = attempt.seen.of(sources(static_cast<Source>(i), policy_));
    outcome.read = force || accepted_[i] != outcome.files;
  }
  return attempt;
}

// Of the flags, and of what the policy names: the one in force, since it stays where the new one is
// refused, and the new one. What cannot be read stays as it is; what is not in force yet keeps the
// policy that names it from being taken.
void Config::read_credentials(Attempt& attempt) const {
  SourceOutcome& outcome = attempt.of(Source::kCredentials);
  if (!outcome.read && attempt.next.policy == policy_) return;
  std::vector<RouteFiles> wanted{RouteFiles{}};
  for (const Policy::Pointer& policy : {policy_, attempt.next.policy}) {
    for (const RouteFiles& named : policy ? policy->files() : std::span<const RouteFiles>()) {
      if (std::ranges::find(wanted, named) == wanted.end()) wanted.push_back(named);
    }
  }
  CredentialsTable next;
  CredentialsTable read;
  for (const RouteFiles& named : wanted) {
    auto entry = read_entry(attempt, named, read);
    if (entry) {
      read.set(*entry);
      next.set(*std::move(entry));
      continue;
    }
    const CredentialsTable::Entry* const last_good = credentials_.find(named);
    if (last_good != nullptr) next.set(*last_good);
    if (last_good == nullptr && named != RouteFiles{}) {
      refuse_policy(attempt, options_.policy + ": " + entry.error());
      break;  // the rest is new as well
    }
    attempt.unread.push_back({named, std::move(entry.error())});
  }
  attempt.next.credentials = std::move(next);
}

// Of the policy that will be in force: what only another one names is none of their state.
void Config::conclude_credentials(Attempt& attempt) const {
  SourceOutcome& outcome = attempt.of(Source::kCredentials);
  outcome.files = attempt.seen.of(sources(Source::kCredentials, attempt.next.policy));
  outcome.read = attempt.forced || !is_in_force(Source::kCredentials, attempt);
  if (outcome.error) return;
  std::vector<Finding> unread;
  for (const auto& [named, error] : attempt.unread) {
    if (attempt.next.policy && !attempt.next.policy->names(named)) continue;
    add_new(unread, {{Finding::Effect::kRefusesAll, error}});
  }
  if (!unread.empty())
    attempt.fail(Source::kCredentials, join(unread, Finding::Effect::kRefusesAll));
}

std::expected<CredentialsTable::Entry, std::string> Config::read_entry(
    Attempt& attempt, const RouteFiles& named, const CredentialsTable& read) const {
  const ktls::CredentialFiles files = files_of(named);
  const Fingerprint now = attempt.seen.of(sources_of(files));
  const CredentialsTable::Entry* const in_force = credentials_.find(named);
  const bool same = in_force != nullptr && in_force->files == now;
  if (same && !attempt.forced) return *in_force;
  if (auto why = outside(sources_of(files))) return std::unexpected(*std::move(why));
  const CredentialsTable::Entry* const shared = read.find_trust(named);
  const PresentedTo whom = presented_to(attempt.next.policy.get(), named);
  auto loaded =
      load_credentials(files, whom, shared == nullptr ? nullptr : shared->credentials.get());
  if (!loaded) return std::unexpected(std::move(loaded.error()));
  // Equal ones stay, since shards have chains that were verified under them.
  if (same) return *in_force;
  if (const CredentialsTable::Entry* const before = credentials_.find_before(named)) {
    auto older = crl_rollback(*before->credentials, **loaded);
    // Who can put an old list in its place takes a revocation back. An operator may want that.
    if (older && !attempt.forced) return std::unexpected(*older + "; SIGHUP takes it");
    if (older) attempt.result.older_list = std::move(older);
    // A trust that is shared may be in use already.
    if (shared == nullptr) (*loaded)->share_issuers(*before->credentials);
  }
  return CredentialsTable::Entry{.named = named, .files = now, .credentials = *std::move(loaded)};
}

void Config::read_policy(Attempt& attempt) const {
  const Source source = policy_source();
  if (!attempt.of(source).read) return;
  // Without a policy file: discovery was refused. The first one may then be of --state-dir.
  if (attempt.of(source).error && (policy_ || !attempt.next.discovery)) return;
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
  const auto misfit = [this](const CredentialsTable& credentials, const Policy::Pointer& policy) {
    return credentials.of_flags() && policy
               ? join(review(credentials, *policy), Finding::Effect::kRefusesAll)
               : "";
  };
  Candidate& next = attempt.next;
  const std::string why = misfit(next.credentials, next.policy);
  if (why.empty()) return;
  const bool keeps_credentials = policy_ && misfit(next.credentials, policy_).empty();
  const bool keeps_policy =
      !keeps_credentials && credentials() && misfit(credentials_, next.policy).empty();
  if (!keeps_policy && next.policy != policy_) refuse_policy(attempt, why);
  if (!keeps_credentials && !(next.credentials == credentials_)) {
    attempt.fail(Source::kCredentials, why);
    next.credentials = credentials_;
  }
}

// Another policy may judge the same file in another way.
void Config::read_discovery(Attempt& attempt) const {
  SourceOutcome& outcome = attempt.of(Source::kDiscovery);
  const bool other_policy = attempt.next.policy != policy_;
  if (!outcome.read && !other_policy) return;
  auto loaded =
      load_discovery(attempt, options_.policy.empty() ? nullptr : attempt.next.policy.get());
  if (!loaded) {
    attempt.fail(Source::kDiscovery, std::move(loaded.error()));
    if (!discovery_ && kept_) attempt.next.discovery = kept_->discovery;
    return;
  }
  for (const DiscoveredRoute* route : loaded->refused()) {
    outcome.refused_routes.push_back({route->name, *route->refused});
  }
  outcome.read = outcome.read || outcome.refused();
  attempt.next.discovery = *std::move(loaded);
}

// Without a policy file, the routes are those of discovery.
std::array<Changes, kSources> Config::changes_to(const Candidate& next) const {
  std::array<Changes, kSources> changes;
  const auto of = [&changes](Source source) -> Changes& {
    return changes[static_cast<std::size_t>(source)];
  };
  if (!complete()) return changes;
  if (!(next.credentials == credentials_))
    of(Source::kCredentials) = credentials_changes(credentials_, next.credentials);
  if (!options_.policy.empty() && next.policy != policy_)
    of(Source::kPolicy) = policy_changes(*policy_, *next.policy);
  if (next.discovery != discovery_)
    of(Source::kDiscovery) = discovery_changes(*discovery_, *next.discovery);
  return changes;
}

void Config::take(Attempt attempt) {
  Candidate& next = attempt.next;
  Reload& result = attempt.result;
  if (next.policy) next.credentials.keep_only(*next.policy);
  result.changes = changes_to(next);
  result.discovery_changed = next.discovery != discovery_;
  result.changed =
      !(next.credentials == credentials_) || next.policy != policy_ || result.discovery_changed;
  result.routes_split = options_.policy.empty() && policy_ && policy_->routes().size() == 1 &&
                        next.policy->routes().size() > 1;
  for (std::size_t i = 0; i < kSources; ++i) {
    const SourceOutcome& outcome = result.outcomes[i];
    if (outcome.read && !outcome.error) accepted_[i] = outcome.files;
  }
  // Of a part: what was in force before is not any more, should the files become that again.
  if (result.of(Source::kCredentials).error && !(next.credentials == credentials_))
    accepted_[static_cast<std::size_t>(Source::kCredentials)].reset();
  credentials_ = std::move(next.credentials);
  policy_ = std::move(next.policy);
  if (attempt.looked_at_discovery) trail_.read(std::move(attempt.discovery_file));
  // Of --state-dir as a whole if the file was refused.
  if (result.discovery_changed && !result.of(Source::kDiscovery).error)
    trail_.took(last_good_discovery(), *next.discovery, ktls::wall_clock_now());
  discovery_ = std::move(next.discovery);
  if (!result.of(Source::kDiscovery).error && trail_.kept_routes() == 0) kept_.reset();
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

std::vector<std::string> Config::sources(Source source, const Policy::Pointer& policy) const {
  switch (source) {
    case Source::kCredentials: {
      std::vector<std::string> all = sources_of(files_of({}));
      for (const RouteFiles& named : policy ? policy->files() : std::span<const RouteFiles>())
        std::ranges::move(sources_of(files_of(named)), std::back_inserter(all));
      return all;
    }
    case Source::kPolicy:
      if (options_.policy.empty()) return {};
      return {options_.policy};
    case Source::kDiscovery:
      return {options_.discovery};
  }
  std::abort();
}

std::vector<std::string> Config::sources_at_start() const {
  Policy::Pointer policy;
  if (!options_.policy.empty()) policy = load_policy(std::nullopt).value_or(nullptr);
  std::vector<std::string> all;
  for (const Source source : {Source::kCredentials, Source::kPolicy, Source::kDiscovery})
    std::ranges::move(sources(source, policy), std::back_inserter(all));
  return all;
}

// The kernel would say no more than EACCES.
std::optional<std::string> Config::outside(std::span<const std::string> sources) const {
  if (confinement_ == nullptr) return std::nullopt;
  for (const std::string& source : sources) {
    for (const auto& file : expand(source)) {
      if (!confinement_->covers(file))
        return file.string() +
               ": outside what this process confined itself to at start: restart or exchange it";
    }
  }
  return std::nullopt;
}

ktls::CredentialFiles Config::files_of(const RouteFiles& named) const {
  ktls::CredentialFiles files = credential_files(options_, named);
  if (!options_.ticket_keys.empty()) files.ticket_keys = options_.ticket_keys;
  return files;
}

PresentedTo Config::presented_to(const Policy* policy, const RouteFiles& named) const {
  const auto any_route = [policy](const auto& uses) {
    return policy != nullptr && std::ranges::any_of(policy->routes(), uses);
  };
  const bool only_egress = options_.listen.empty() && !options_.egress.empty();
  const bool to_clients = named == RouteFiles{}
                              ? !only_egress
                              : policy == nullptr || any_route([&](const Route& route) {
                                  return !route.egress && policy->files()[route.files] == named;
                                });
  const bool to_backends = any_route([&](const Route& route) {
    return route.backend_tls && route.backend_tls->presents_certificate &&
           policy->files()[route.backend_tls->files] == named;
  });
  return {.clients = to_clients, .backends = to_backends};
}

std::vector<std::string> Config::secret_files() const {
  std::set<std::string> files;
  for (const auto& pair : options_.pairs) files.insert(pair.key);
  for (const RouteFiles& named : policy_ ? policy_->files() : std::span<const RouteFiles>()) {
    for (const NamedCredentials& each : named.credentials) files.insert(each.key);
  }
  if (!options_.ticket_keys.empty()) files.insert(options_.ticket_keys);
  return {files.begin(), files.end()};
}

std::vector<std::filesystem::path> Config::directories() const {
  std::set<std::string> all;
  for (std::size_t i = 0; i < kSources; ++i) {
    for (std::string& source : sources(static_cast<Source>(i), policy_))
      all.insert(std::move(source));
  }
  std::set<std::filesystem::path> directories;
  for (const std::string& source : all) {
    for (const auto& file : expand(source)) {
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

std::expected<CredentialsTable::Pointer, std::string> Config::load_credentials(
    const ktls::CredentialFiles& files, PresentedTo whom,
    const ktls::Credentials* of_same_trust) const {
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

  auto loaded = ktls::load_usable_credentials(files, std::move(settings), of_same_trust);
  if (!loaded) return std::unexpected(loaded.error().message());
  std::string why = join(review_credentials(**loaded, ktls::wall_clock_now(), whom),
                         Finding::Effect::kRefusesAll);
  if (!why.empty()) return std::unexpected(std::move(why));
  return *std::move(loaded);
}

std::expected<Policy::Pointer, std::string> Config::load_policy(
    const std::optional<Discovery>& discovery) const {
  if (!options_.policy.empty()) {
    if (auto why = outside({&options_.policy, 1})) return std::unexpected(*std::move(why));
    auto text = read_text(options_.policy);
    if (!text) return std::unexpected(std::move(text.error()));
    auto policy = parse_policy(*text, options_.policy);
    if (!policy) return std::unexpected(policy.error().to_string());
    if (auto why = why_no_egress(options_, **policy)) return std::unexpected(*std::move(why));
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

std::expected<Discovery, std::string> Config::load_discovery(Attempt& attempt,
                                                             const Policy* policy) const {
  attempt.looked_at_discovery = true;
  if (auto why = outside({&options_.discovery, 1})) return std::unexpected(*std::move(why));
  struct stat status{};
  auto text = read_text(options_.discovery, &status);
  if (!text) return std::unexpected(std::move(text.error()));
  attempt.discovery_file.emplace(status, *text, ktls::wall_clock_now());
  auto read = parse_discovery(*text, options_.discovery);
  if (!read) return std::unexpected(read.error().to_string());
  const std::size_t named = read->routes.size();
  const Discovery* const before = last_good_discovery();
  Discovery next = update_discovery(before, *std::move(read),
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
  const bool none_good = before == nullptr && refused.size() == routes_of(next, policy);
  if (renamed || none_good) return std::unexpected(refused.front()->refused->to_string());
  return next;
}

}  // namespace sallyport::gateway
