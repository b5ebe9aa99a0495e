#include "gateway/run/config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "gateway/policy/pattern.h"
#include "ktls/handshake/server_context.h"
#include "ktls/trust/key_file.h"

namespace sallyport::gateway {
namespace {

constexpr std::uintmax_t kLargestFile = std::uintmax_t{256} << 20;

std::expected<std::string, std::string> read_text(const std::string& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (error) return std::unexpected(file + ": " + error.message());
  if (!std::filesystem::is_regular_file(status)) {
    return std::unexpected(file + ": is not a regular file");
  }
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) return std::unexpected(file + ": " + error.message());
  if (size > kLargestFile) return std::unexpected(file + ": is larger than 256 MiB");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  // An empty file sets failbit here, which is no error: its content is refused by the parser.
  if (stream) text << stream.rdbuf();
  if (!stream.is_open() || stream.bad()) {
    return std::unexpected(file + ": " + std::strerror(errno != 0 ? errno : EIO));
  }
  return std::move(text).str();
}

// An unscoped bundle would let the CA of one trust domain vouch for the IDs of another.
std::optional<std::string> conflict(const ktls::Credentials& credentials, const Policy& policy) {
  if (!credentials.has_unscoped_trust() || policy.trust_domains().size() < 2) return std::nullopt;
  std::string domains;
  for (const std::string& domain : policy.trust_domains()) {
    domains += domains.empty() ? domain : ", " + domain;
  }
  return "the rules name several trust domains (" + domains +
         "), so each --ca must say which one it vouches for: --ca TRUST-DOMAIN=FILE";
}

}  // namespace

std::string_view to_string(Source source) {
  constexpr std::array<std::string_view, kSources> kWords{"credentials", "policy", "discovery"};
  return kWords[static_cast<std::size_t>(source)];
}

Config::Config(const Options& options)
    : options_(options), process_tickets_(ktls::TicketSecrets::random()) {}

bool Config::complete() const {
  return credentials_ && policy_ && discovery_;
}

Config::Reload Config::reload(bool force) {
  Reload result;
  for (std::size_t i = 0; i < kSources; ++i) {
    result.outcomes[i].files = fingerprint(files(static_cast<Source>(i)));
    result.outcomes[i].read = force || accepted_[i] != result.outcomes[i].files;
  }
  const auto failed = [&](Source source, std::string why) {
    result.outcomes[static_cast<std::size_t>(source)].error = std::move(why);
  };

  Candidate next{credentials_, policy_, discovery_};
  if (const SourceOutcome& credentials = result.of(Source::kCredentials); credentials.read) {
    auto loaded = load_credentials();
    if (!loaded) {
      failed(Source::kCredentials, std::move(loaded.error()));
    } else if (accepted_[static_cast<std::size_t>(Source::kCredentials)] != credentials.files) {
      next.credentials = *std::move(loaded);
    }  // else equal to those in force, with which shards have chains that they verified
  }
  if (result.of(Source::kDiscovery).read) {
    auto loaded = load_discovery();
    if (loaded) {
      next.discovery = *std::move(loaded);
    } else {
      failed(Source::kDiscovery, std::move(loaded.error()));
    }
  }
  // Without a policy file the routes are those of the discovery file.
  const bool from_flags = options_.policy.empty();
  const Source policy_source = from_flags ? Source::kDiscovery : Source::kPolicy;
  if (result.of(policy_source).read && !result.of(policy_source).error) {
    auto loaded = load_policy(next.discovery);
    if (loaded) {
      next.policy = *std::move(loaded);
    } else {
      failed(policy_source, std::move(loaded.error()));
      if (from_flags) next.discovery = discovery_;
    }
  }

  // Each is valid by itself; credentials and policy must also fit together.
  if (next.credentials && next.policy) {
    if (auto why = conflict(*next.credentials, *next.policy)) {
      if (next.policy != policy_) {
        failed(policy_source, *why);
        if (from_flags) next.discovery = discovery_;
        next.policy = policy_;
      }
      if (next.credentials != credentials_) {
        failed(Source::kCredentials, *why);
        next.credentials = credentials_;
      }
    }
  }

  result.routes_split =
      from_flags && policy_ && policy_->routes().size() == 1 && next.policy->routes().size() > 1;
  for (std::size_t i = 0; i < kSources; ++i) {
    const SourceOutcome& outcome = result.outcomes[i];
    if (!outcome.read || outcome.error) continue;
    accepted_[i] = outcome.files;
    result.changed = true;
  }
  credentials_ = std::move(next.credentials);
  policy_ = std::move(next.policy);
  discovery_ = std::move(next.discovery);
  return result;
}

std::vector<std::filesystem::path> Config::files(Source source) const {
  std::vector<std::filesystem::path> files;
  switch (source) {
    case Source::kCredentials:
      for (const auto& pair : options_.pairs) {
        files.emplace_back(pair.cert);
        files.emplace_back(pair.key);
      }
      for (const auto& bundle : options_.ca) files.emplace_back(bundle.file);
      for (const auto& crl : options_.crl) files.emplace_back(crl);
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
      if (!error) directories.insert(real.parent_path());
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

  ktls::HandshakeSettings settings;
  settings.accept_expired_crl = options_.crl_expired == Options::CrlExpired::kAccept;
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
  FlagRules rules{.allow = {}, .allow_any_verified = options_.allow_any_verified};
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

std::expected<Discovery, std::string> Config::load_discovery() const {
  auto text = read_text(options_.discovery);
  if (!text) return std::unexpected(std::move(text.error()));
  auto discovery = parse_discovery(*text, options_.discovery);
  if (!discovery) return std::unexpected(discovery.error().to_string());
  if (discovery_) {
    const UpdateLimits limits{.allow_empty = options_.discovery_allow_empty,
                              .max_removal_percent = options_.discovery_max_removal_percent};
    const auto allowed = check_update(*discovery_, *discovery, limits);
    if (!allowed) return std::unexpected(allowed.error().to_string());
  }
  return *std::move(discovery);
}

std::vector<std::string> Config::warnings() const {
  std::vector<std::string> warnings;
  for (const std::string& file : secret_files()) {
    if (auto readers = ktls::key_file_readers(file)) warnings.push_back(*std::move(readers));
  }
  if (!complete()) return warnings;
  warnings.insert(warnings.end(), credentials_->warnings().begin(), credentials_->warnings().end());
  if (options_.policy.empty()) return warnings;
  for (const DiscoveredRoute& route : discovery_->routes) {
    if (policy_->find(route.name) == nullptr) {
      warnings.push_back("route " + route.name +
                         " of the discovery file is not in the policy file: unreachable");
    }
  }
  for (const Route& route : policy_->routes()) {
    if (discovery_->find(route.name) == nullptr) {
      warnings.push_back("route " + route.name +
                         " of the policy file has no endpoint in the discovery file");
    }
  }
  return warnings;
}

}  // namespace sallyport::gateway
