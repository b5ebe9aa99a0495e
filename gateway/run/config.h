// The sources of configuration: read, checked together, and kept at their last good state.
#pragma once

#include <array>
#include <cstddef>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/backends/discovery.h"
#include "gateway/policy/policy.h"
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
  Fingerprint files{};
};

/// The credentials, policy and discovery of the process: last good state of each, read again as
/// long as the files are not those that it was made of. A state takes over only if it is valid by
/// itself *and* together with the other two.
///
/// Control thread only; blocks on the disk.
class Config {
 public:
  /// `options` must outlive it.
  explicit Config(const Options& options);

  struct Reload {
    std::array<SourceOutcome, kSources> outcomes;
    bool changed = false;  ///< something took over
    /// Without a policy file, a second route label appeared: routes that took any SNI no longer do.
    bool routes_split = false;
    [[nodiscard]] const SourceOutcome& of(Source source) const {
      return outcomes[static_cast<std::size_t>(source)];
    }
  };

  /// Reads what is not in force, or everything if `force`d: also what was refused before, since the
  /// reason may have been elsewhere, in another source or in the rights of a directory. The first
  /// call reads all; the configuration is usable once a call left complete() true.
  Reload reload(bool force);

  /// Each source has been good at least once.
  [[nodiscard]] bool complete() const;

  /// Never null once complete().
  [[nodiscard]] const std::shared_ptr<const ktls::Credentials>& credentials() const {
    return credentials_;
  }
  [[nodiscard]] const Policy::Pointer& policy() const { return policy_; }
  [[nodiscard]] const Discovery& discovery() const { return *discovery_; }

  /// Directories whose entries, when they change, may change a source.
  [[nodiscard]] std::vector<std::filesystem::path> directories() const;

  /// Oddities of the current state that are worth a warning each: those of the credentials, keys
  /// that a group may read, routes of one file without counterpart in the other.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  struct Candidate {
    std::shared_ptr<const ktls::Credentials> credentials;
    Policy::Pointer policy;
    std::optional<Discovery> discovery;
  };

  [[nodiscard]] std::vector<std::filesystem::path> files(Source source) const;
  [[nodiscard]] std::vector<std::string> secret_files() const;
  [[nodiscard]] std::expected<std::shared_ptr<const ktls::Credentials>, std::string>
  load_credentials() const;
  [[nodiscard]] std::expected<Policy::Pointer, std::string> load_policy(
      const std::optional<Discovery>& discovery) const;
  [[nodiscard]] std::expected<Discovery, std::string> load_discovery() const;

  const Options& options_;
  std::shared_ptr<const ktls::TicketSecrets> process_tickets_;
  std::array<std::optional<Fingerprint>, kSources> accepted_;  // of what is in force
  std::shared_ptr<const ktls::Credentials> credentials_;
  Policy::Pointer policy_;
  std::optional<Discovery> discovery_;
};

}  // namespace sallyport::gateway
