#include "gateway/run/reload.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/observe/log.h"
#include "gateway/observe/timestamp.h"
#include "gateway/run/discovery_view.h"
#include "gateway/run/service_manager.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

// The files are read again this often, with or without events of inotify(7): network file systems
// make none.
constexpr std::chrono::seconds kLookEvery{5};
constexpr std::chrono::seconds kLookWhileSettling{1};

// Groups without a route are for Prometheus. Logged, since the label may also have been forgotten.
void log_ignored_groups(const Config& config) {
  if (config.discovery().ignored_groups == 0) return;
  log_info("groups without a route label ignored",
           {{"file", config.discovery().file}, {"groups", config.discovery().ignored_groups}});
}

void log_reloaded(Source source, const Changes& changes) {
  log_audit(LogLevel::kInfo, "reloaded", {{"source", to_string(source)}, {"changes", changes}});
}

void log_refused_route(const SourceOutcome::RefusedRoute& refused, std::string_view message) {
  log_audit(LogLevel::kWarning, message,
            {{"source", to_string(Source::kDiscovery)},
             {"route", refused.route},
             {"error", refused.error.to_string()}});
}

}  // namespace

bool load_first(Config& config) {
  const Config::Reload loaded = config.reload(true);
  for (std::size_t i = 0; i < kSources; ++i) {
    const SourceOutcome& outcome = loaded.outcomes[i];
    const auto source = static_cast<Source>(i);
    const auto as_of = source == Source::kDiscovery ? config.kept_as_of() : std::nullopt;
    if (outcome.error && as_of) {
      log_audit(LogLevel::kWarning, "discovery refused, endpoints of --state-dir are used",
                {{"as_of", rfc3339(*as_of)}, {"error", *outcome.error}});
    } else if (outcome.error) {
      log_error("configuration refused",
                {{"source", to_string(source)}, {"error", *outcome.error}});
    }
    for (const SourceOutcome::RefusedRoute& each : outcome.refused_routes) {
      const DiscoveredRoute* const route = config.discovery().find(each.route);
      log_refused_route(each, route != nullptr && !route->targets.empty()
                                  ? "route refused, it begins with endpoints of --state-dir"
                                  : "route refused, it begins without endpoints");
    }
  }
  if (!config.complete()) return false;
  log_ignored_groups(config);
  return true;
}

void Reloader::reload(bool force) {
  const Config::Reload& reloaded = config_.reload(force);
  // Shards first: what is counted as a success is in force.
  if (reloaded.changed) {
    resolver_.watch(config_.discovery().host_names());
    publish();
  }
  report(reloaded, force);
  report_current();
  files_.add(config_.directories());
  log_findings(force);
}

void Reloader::reload_on_demand(std::string_view asked_by) {
  log_audit(LogLevel::kInfo, "reloading", {{"asked_by", asked_by}});
  notify_reloading();
  reload(true);
  notify_ready();
}

std::vector<std::string> Reloader::refused() const {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < kSources; ++i) {
    const SourceOutcome& outcome = config_.latest().outcomes[i];
    const std::string source(to_string(static_cast<Source>(i)));
    if (outcome.error) lines.push_back(source + ": " + *outcome.error);
    for (const SourceOutcome::RefusedRoute& each : outcome.refused_routes)
      lines.push_back(source + ": route " + each.route + ": " + each.error.to_string());
  }
  if (not_published_) lines.push_back("credentials: " + *not_published_);
  return lines;
}

void Reloader::log_findings(bool all) {
  const auto now = std::chrono::steady_clock::now();
  for (const Finding& each : findings_.due(config_.findings(), now, all)) {
    if (each.effect == Finding::Effect::kRefusesAll) {
      log_error("no client can be served", {{"source", "credentials"}, {"error", each.text}});
    } else {
      log_warning("configuration", {{"warning", each.to_string()}});
    }
  }
}

void Reloader::publish() {
  const auto published = publisher_.publish();
  not_published_ = published ? std::nullopt : std::optional(published.error());
  if (published) return;
  log_audit(LogLevel::kError, "reload refused, last good state stays",
            {{"source", "credentials"}, {"error", published.error()}});
}

void Reloader::report(const Config::Reload& reloaded, bool force) {
  for (std::size_t i = 0; i < kSources; ++i) {
    report(static_cast<Source>(i), reloaded.outcomes[i], reloaded.changes[i], force);
  }
  const std::size_t ignored = config_.discovery().ignored_groups;
  if (force || ignored != std::exchange(ignored_groups_, ignored)) log_ignored_groups(config_);
  if (reloaded.older_list && !reloaded.of(Source::kCredentials).error) {
    log_audit(LogLevel::kWarning, "an older CRL was taken", {{"list", *reloaded.older_list}});
  }
  if (reloaded.routes_split) {
    log_warning("several routes now, and no policy file: each takes only the SNI of its own name",
                {{"file", options_.discovery}});
  }
}

void Reloader::report(Source source, const SourceOutcome& outcome, const Changes& changes,
                      bool force) {
  RefusalReport& refusal = refusals_[static_cast<std::size_t>(source)];
  const std::string_view name = to_string(source);
  if (!outcome.refused()) {
    const bool was_refused = refusal.accepted();
    if (was_refused && !outcome.read) {
      log_audit(LogLevel::kInfo, "no longer refused: the files are those in force",
                {{"source", name}});
    }
    if (outcome.read) registry_.config_reloaded(name, true, std::chrono::system_clock::now());
    if (outcome.read || !changes.empty()) log_reloaded(source, changes);
    return;
  }
  if (!changes.empty()) log_reloaded(source, changes);  // what of it is not refused
  const RefusalReport::Say say =
      refusal.refused(outcome.files, outcome.complaint(), std::chrono::steady_clock::now(), force);
  if (say.count) registry_.config_reloaded(name, false, std::chrono::system_clock::now());
  // A file that was written again and is refused as a whole is worth a line; one that changes
  // around a route that stays refused is not.
  if (!say.log && !(say.count && outcome.error)) return;
  if (outcome.error) {
    log_audit(LogLevel::kError, "reload refused, last good state stays",
              {{"source", name}, {"error", *outcome.error}});
  }
  for (const SourceOutcome::RefusedRoute& each : outcome.refused_routes)
    log_refused_route(each, "route refused, its last good endpoints stay");
}

void Reloader::report_current() {
  for (std::size_t i = 0; i < kSources; ++i) {
    registry_.config_current(to_string(static_cast<Source>(i)),
                             !config_.latest().outcomes[i].refused());
  }
  publisher_.set_refused(config_.latest().of(Source::kCredentials).error);
  publisher_.set_discovery(discovery_view(config_, options_));
  if (keeper_ != nullptr) keeper_->keep(config_, options_.discovery);
  const SourceOutcome& discovery = config_.latest().of(Source::kDiscovery);
  std::map<std::string, bool> routes;
  std::set<std::string> reachable;
  for (const Route& route : config_.policy()->routes()) {
    routes[route.name] = !discovery.error;
    reachable.insert(route.name);
  }
  for (const DiscoveredRoute& route : config_.discovery().routes) {
    routes[route.name] = !discovery.error && !route.refused;
  }
  registry_.set_discovery_routes(std::move(routes));
  registry_.set_routes(std::move(reachable));
}

bool Reloader::settling() const {
  return std::ranges::any_of(refusals_, &RefusalReport::settling);
}

iouring::Task<void> Reloader::reload_on_change() {
  files_.add(config_.directories());
  for (;;) {
    iouring::Result<> changed = co_await files_.changed();
    if (!changed) {
      if (changed.error().value != ECANCELED) {
        log_error("cannot watch files any more", {{"error", changed.error().name()}});
      }
      co_return;
    }
    reload(false);
  }
}

iouring::Task<void> Reloader::reload_now_and_then(iouring::Ring& ring) {
  std::chrono::seconds since{0};
  for (;;) {
    iouring::Result<> slept = co_await iouring::sleep_for(ring, kLookWhileSettling);
    if (!slept) co_return;
    publisher_.free_retired();
    log_held_back();
    since += kLookWhileSettling;
    if (since < kLookEvery && !settling()) continue;
    since = std::chrono::seconds(0);
    config_.renew_ticket_secret(std::chrono::steady_clock::now());
    reload(false);
  }
}

}  // namespace sallyport::gateway
