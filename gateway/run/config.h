// The sources of configuration: read, checked together, and kept at their last good state.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <expected>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backends/discovery.h"
#include "gateway/backends/discovery_state.h"
#include "gateway/policy/config_error.h"
#include "gateway/policy/policy.h"
#include "gateway/run/config_changes.h"
#include "gateway/run/confinement.h"
#include "gateway/run/credentials_review.h"
#include "gateway/run/credentials_table.h"
#include "gateway/run/discovery_trail.h"
#include "gateway/run/fingerprint.h"
#include "gateway/run/options.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// What is reloaded as one; the label of config_reloads_total{source}.
enum class Source : std::size_t { kCredentials, kPolicy, kDiscovery };
inline constexpr std::size_t kSources = 3;
[[nodiscard]] std::string_view to_string(Source source);

/// What became of one source in a reload.
struct SourceOutcome {
  bool read = false;                 ///< its files are not those in force, or reading was forced
  std::optional<std::string> error;  ///< names file, line and key as far as known; old state stays
  struct RefusedRoute {
    std::string route;
    ConfigError error;
  };
  /// Of discovery without an error: routes whose last good endpoints stay. The rest is in force.
  std::vector<RefusedRoute> refused_routes;
  Fingerprint files{};

  [[nodiscard]] bool refused() const { return error || !refused_routes.empty(); }
  /// All errors in one text. Routes without the place, which moves as the file is written anew.
  [[nodiscard]] std::string complaint() const;
};

/// The credentials, policy and discovery of the process: last good state of each, read again as
/// long as the files are not those that it was made of. A state takes over only if it is valid by
/// itself *and* together with the other two; of discovery, each route by itself.
///
/// Control thread only; blocks on the disk.
class Config {
 public:
  /// `options` must outlive it.
  explicit Config(const Options& options);

  /// Before the first reload(): what was in force last, before this process. A route that the
  /// discovery file has wrong begins with these targets, and all do where it cannot be read.
  void begin_with(KeptDiscovery kept);

  /// What the first reload() will read: files and directories. Of a policy file that cannot be
  /// read, which that says, nothing is known.
  [[nodiscard]] std::vector<std::string> sources_at_start() const;
  /// Files that it does not cover are refused from now on. It must outlive this.
  void confine_to(const Confinement& confinement) { confinement_ = &confinement; }

  struct Reload {
    std::array<SourceOutcome, kSources> outcomes;
    bool changed = false;  ///< something took over
    bool discovery_changed = false;
    /// Without a policy file, a second route label appeared: routes that took any SNI no longer do.
    bool routes_split = false;
    /// What crl_rollback() says of the lists that took over, since the reload was forced.
    std::optional<std::string> older_list;
    /// What took over differs so from what was in force; nothing of the first one.
    std::array<Changes, kSources> changes;
    [[nodiscard]] const Changes& changes_of(Source source) const {
      return changes[static_cast<std::size_t>(source)];
    }
    [[nodiscard]] const SourceOutcome& of(Source source) const {
      return outcomes[static_cast<std::size_t>(source)];
    }
  };

  /// Reads what is not in force, or everything if `force`d: also what was refused before, since the
  /// reason may have been elsewhere, in another source or in the rights of a directory. The first
  /// call reads all; the configuration is usable once a call left complete() true.
  const Reload& reload(bool force);
  /// Of the latest reload().
  [[nodiscard]] const Reload& latest() const { return latest_; }

  /// Without --ticket-keys: makes the credentials be read again with a new ticket secret of the
  /// process, once the present one is a day old at `now`. The one before still opens tickets, so
  /// that those live for a day at least, if not for all of --ticket-max-age.
  void renew_ticket_secret(std::chrono::steady_clock::time_point now);

  /// Each source has been good at least once, discovery here or before this process.
  [[nodiscard]] bool complete() const;

  /// Those of the flags. Never null once complete().
  [[nodiscard]] const CredentialsTable::Pointer& credentials() const {
    return credentials_.of_flags();
  }
  /// Once complete(): those of policy()->files(), from its second on; and all.
  [[nodiscard]] std::vector<CredentialsTable::Pointer> named_credentials() const;
  [[nodiscard]] std::vector<CredentialsTable::Pointer> all_credentials() const;
  [[nodiscard]] const Policy::Pointer& policy() const { return policy_; }
  /// Its refused() are routes that are not as the file has them.
  [[nodiscard]] const Discovery& discovery() const { return *discovery_; }
  [[nodiscard]] const DiscoveryTrail& trail() const { return trail_; }
  /// Of endpoints that are those of begin_with(): when they were in force last. Nothing: all are of
  /// the discovery file.
  [[nodiscard]] std::optional<std::chrono::sys_seconds> kept_as_of() const;

  /// Directories whose entries, when they change, may change a source.
  [[nodiscard]] std::vector<std::filesystem::path> directories() const;

  /// What is odd about the current state, each worth a line: what credentials_review.h finds now;
  /// and, as of the latest reload that changed something or was forced, keys that a group may read
  /// and routes of one file without counterpart in the other.
  [[nodiscard]] std::vector<Finding> findings() const;

 private:
  struct Candidate {
    CredentialsTable credentials;
    Policy::Pointer policy;
    std::optional<Discovery> discovery;
  };
  // A reload on its way: what it found, and what will be in force.
  struct Attempt {
    bool forced = false;
    Reload result;
    Candidate next;
    Fingerprints seen;
    // The discovery file, if it was looked at and could be read.
    bool looked_at_discovery = false;
    std::optional<WrittenFile> discovery_file;
    // Files that are not in force as they are now, and why.
    std::vector<std::pair<RouteFiles, std::string>> unread;
    SourceOutcome& of(Source source) { return result.outcomes[static_cast<std::size_t>(source)]; }
    void fail(Source source, std::string why) { of(source).error = std::move(why); }
  };

  [[nodiscard]] Attempt look(bool force) const;
  void read_credentials(Attempt& attempt) const;
  void conclude_credentials(Attempt& attempt) const;
  [[nodiscard]] std::expected<CredentialsTable::Entry, std::string> read_entry(
      Attempt& attempt, const RouteFiles& named, const CredentialsTable& read) const;
  void read_policy(Attempt& attempt) const;
  void refuse_policy(Attempt& attempt, std::string why) const;
  void fit_together(Attempt& attempt) const;
  void read_discovery(Attempt& attempt) const;
  [[nodiscard]] std::array<Changes, kSources> changes_to(const Candidate& next) const;
  void take(Attempt attempt);

  [[nodiscard]] std::vector<Finding> find_oddities() const;
  [[nodiscard]] std::vector<Finding> review(const CredentialsTable& credentials,
                                            const Policy& policy) const;
  [[nodiscard]] bool is_in_force(Source source, const Attempt& attempt) const;
  [[nodiscard]] Source policy_source() const;

  [[nodiscard]] std::vector<std::string> sources(Source source,
                                                 const Policy::Pointer& policy) const;
  [[nodiscard]] std::optional<std::string> outside(std::span<const std::string> sources) const;
  [[nodiscard]] ktls::CredentialFiles files_of(const RouteFiles& named) const;
  [[nodiscard]] std::vector<std::string> secret_files() const;
  [[nodiscard]] std::expected<CredentialsTable::Pointer, std::string> load_credentials(
      const ktls::CredentialFiles& files, PresentedTo whom,
      const ktls::Credentials* of_same_trust) const;
  [[nodiscard]] PresentedTo presented_to(const Policy* policy, const RouteFiles& named) const;
  [[nodiscard]] std::expected<Policy::Pointer, std::string> load_policy(
      const std::optional<Discovery>& discovery) const;
  [[nodiscard]] std::expected<Discovery, std::string> load_discovery(Attempt& attempt,
                                                                     const Policy* policy) const;
  [[nodiscard]] const Discovery* last_good_discovery() const;

  const Options& options_;
  const Confinement* confinement_ = nullptr;
  std::shared_ptr<const ktls::TicketSecrets> process_tickets_;
  std::chrono::steady_clock::time_point tickets_made_;
  std::array<std::optional<Fingerprint>, kSources> accepted_;  // of what is in force
  CredentialsTable credentials_;
  Policy::Pointer policy_;
  std::optional<Discovery> discovery_;
  std::optional<KeptDiscovery> kept_;  // until a discovery took over, and while some of it is used
  DiscoveryTrail trail_;
  std::vector<Finding> oddities_;  // which time does not change
  Reload latest_;
};

}  // namespace sallyport::gateway
