// Reads changed files and publishes what they hold.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/backends/resolver.h"
#include "gateway/run/config.h"
#include "gateway/run/file_watch.h"
#include "gateway/run/finding_report.h"
#include "gateway/run/kept_discovery.h"
#include "gateway/run/options.h"
#include "gateway/run/publisher.h"
#include "gateway/run/refusal_report.h"
#include "iouring/ring.h"
#include "iouring/task.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// The first load, before anything runs. False, with each reason logged, if a source is not good.
[[nodiscard]] bool load_first(Config& config);

/// Reads what changed, publishes it, and reports the outcome in log and metrics. Control thread
/// only.
class Reloader {
 public:
  /// All references outlive it, and so does `keeper`, null without --state-dir. The configuration
  /// is complete().
  Reloader(const Options& options, Config& config, Resolver& resolver, Publisher& publisher,
           metrics::Registry& registry, FileWatch& files, DiscoveryKeeper* keeper)
      : options_(options),
        config_(config),
        resolver_(resolver),
        publisher_(publisher),
        registry_(registry),
        files_(files),
        keeper_(keeper),
        ignored_groups_(config.discovery().ignored_groups) {
    report_current();
  }

  /// Reads what is not in force, or everything if `force`d by an operator.
  void reload(bool force);
  /// reload(true), told to systemd and, with who asked, to the log.
  void reload_on_demand(std::string_view asked_by);
  /// What the files have that is not in force since the latest reload, and why: a line each.
  [[nodiscard]] std::vector<std::string> refused() const;
  /// Logs those of Config::findings() that are due; on demand all.
  void log_findings(bool all);
  /// Publishes the configuration that is in force: the addresses of its host names changed.
  void publish();

  /// Reload after a change of the watched files, and every few seconds besides, with a look at what
  /// has lapsed. Until cancelled.
  [[nodiscard]] iouring::Task<void> reload_on_change();
  [[nodiscard]] iouring::Task<void> reload_now_and_then(iouring::Ring& ring);

 private:
  void report(const Config::Reload& reloaded, bool force);
  void report(Source source, const SourceOutcome& outcome, const Changes& changes, bool force);
  void report_current();
  [[nodiscard]] bool settling() const;

  const Options& options_;
  Config& config_;
  Resolver& resolver_;
  Publisher& publisher_;
  metrics::Registry& registry_;
  FileWatch& files_;
  DiscoveryKeeper* keeper_;
  std::array<RefusalReport, kSources> refusals_;
  FindingReport findings_;
  std::size_t ignored_groups_;  // logged already
  std::optional<std::string> not_published_;
};

}  // namespace sallyport::gateway
