#include "gateway/run/control.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <set>
#include <utility>

#include "gateway/observe/admin_json.h"
#include "gateway/observe/log.h"
#include "gateway/run/process.h"
#include "gateway/run/record_support.h"
#include "gateway/run/versions.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

using std::chrono::system_clock;

// The files are read again this often, whatever inotify says (network file systems say nothing).
constexpr std::chrono::seconds kLookEvery{5};
// Writers touch several files at once, and one file several times.
constexpr std::chrono::milliseconds kSettle{100};
// Names that do not resolve in this time come later; readiness says so.
constexpr std::chrono::seconds kFirstResolution{5};
// Descriptors that are not connections: ring, files, admin, logs.
constexpr std::uint64_t kOtherDescriptors = 128;
// The kernel's limit (IORING_MAX_FIXED_FILES) is higher; a slot costs it 8 bytes.
constexpr std::uint64_t kLargestTable = 1 << 18;

Timeouts timeouts_of(const Options& options) {
  return {.handshake = options.handshake_timeout,
          .connect = options.connect_timeout,
          .half_close = options.half_close_timeout,
          .idle = options.idle_timeout,
          .lifetime = options.max_lifetime};
}

metrics::BuildInfo build_info() {
  Versions all = versions();
  return {.version = all.sallyport,
          .openssl = all.openssl,
          .kernel = all.kernel,
          .liburing = all.liburing};
}

}  // namespace

Control::Control(const Options& options)
    : options_(options), timeouts_(timeouts_of(options)), config_(options) {}

Control::~Control() = default;

int Control::check() {
  const Config::Reload loaded = config_.reload(true);
  std::set<std::string> told;
  bool good = true;
  for (const SourceOutcome& outcome : loaded.outcomes) {
    if (!outcome.error) continue;
    good = false;
    // Two sources that do not fit together are told once.
    if (told.insert(*outcome.error).second) std::fprintf(stderr, "%s\n", outcome.error->c_str());
  }
  if (good) {
    std::string error;
    if (server_contexts(config_.credentials(), error).empty()) {
      std::fprintf(stderr, "%s\n", error.c_str());
      good = false;
    }
  }
  const RecordChoice records = probe_records(options_);
  if (const auto unmet = records_unmet(options_, records)) {
    std::fprintf(stderr, "%s\n", unmet->c_str());
    good = false;
  }
  if (!good) return kExitConfiguration;
  if (records.wanted != RecordsWanted::kUserspace) {
    std::printf("%s\n", records.kernel.describe().c_str());
  }
  for (const std::string& warning : config_.warnings()) {
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  std::printf("configuration is good\n");
  return kExitDrained;
}

int Control::run() {
  if (!load_first() || !probe_kernel()) return kExitConfiguration;
  forbid_core_dumps();

  access_log_ = std::make_unique<AccessLog>(
      AccessLogOptions{.format = options_.log_format, .on_dropped = [](std::uint64_t lines) {
                         log_warning("access log too slow: lines dropped", {{"lines", lines}});
                       }});
  const metrics::Vocabulary words{.close_reasons = kCloseReasonWords,
                                  .handshake_results = kHandshakeResultWords,
                                  .fallback_reasons = ktls::kKtlsFallbackWords};
  registry_ = std::make_unique<metrics::Registry>(words, build_info());
  if (auto support = ktls_support(records_)) registry_->set_ktls_support(*std::move(support));
  for (std::size_t i = 0; i < kSources; ++i) {
    registry_->config_loaded(to_string(static_cast<Source>(i)), system_clock::now());
  }

  if (!start_watching() || !set_up_shards()) return kExitFailed;
  resolver_ = std::make_unique<Resolver>(Resolver::Options{},
                                         [this] { inbox_->post([this] { publish(); }); });
  resolver_->watch(config_.discovery().host_names());
  if (!resolver_->wait_for_first(kFirstResolution)) {
    log_warning("some names are not resolved yet");
  }
  if (!options_.user.empty()) {
    const auto became = become_user(options_.user);
    if (!became) {
      log_error(became.error());
      return kExitFailed;
    }
  }
  if (!start_shards()) return kExitConfiguration;
  if (!start_admin()) {
    for (const auto& shard : shards_) shard->drain();
    for (const auto& shard : shards_) shard->join();
    return kExitFailed;
  }
  log_warnings();
  notify_ready();

  ring_->run(main());
  admin_.reset();
  resolver_.reset();
  for (const auto& shard : shards_) shard->join();
  access_log_.reset();
  log_info("drained");
  return shard_failed_ ? kExitFailed : kExitDrained;
}

bool Control::load_first() {
  const Config::Reload loaded = config_.reload(true);
  for (std::size_t i = 0; i < kSources; ++i) {
    const auto& error = loaded.outcomes[i].error;
    if (error) {
      log_error("configuration refused",
                {{"source", to_string(static_cast<Source>(i))}, {"error", *error}});
    }
  }
  log_ignored_groups(loaded);
  return config_.complete();
}

// Before privileges are dropped: the kernel loads its modules by itself only for the privileged.
bool Control::probe_kernel() {
  records_ = probe_records(options_);
  if (const auto unmet = records_unmet(options_, records_)) {
    log_error("configuration refused", {{"source", "flags"}, {"error", *unmet}});
    return false;
  }
  if (records_.wanted != RecordsWanted::kUserspace) {
    log_info("records", {{"kernel_tls", records_.kernel.describe()}});
  }
  return true;
}

bool Control::set_up_shards() {
  const std::uint64_t descriptors = raise_descriptor_limit();
  const std::vector<int> cpus = usable_cpus();
  const unsigned count = options_.shards.value_or(static_cast<unsigned>(cpus.size()));
  const bool pinned = count <= cpus.size();
  if (!pinned) {
    log_warning("more shards than CPUs: not pinned", {{"shards", count}, {"cpus", cpus.size()}});
  }

  // A connection is two slots of a ring's table, or, on kernels that cannot bring a descriptor back
  // from there, two ordinary descriptors.
  const bool has_table = ring_->has(iouring::Opcode::kFixedFdInstall);
  const std::uint64_t table = has_table ? std::min(descriptors, kLargestTable) : 0;
  const std::uint64_t carried =
      has_table ? count * table / 2
                : (descriptors > kOtherDescriptors ? (descriptors - kOtherDescriptors) / 2 : 1);
  limit_ = std::make_unique<ConnectionLimit>(options_.max_connections.value_or(carried));
  log_info("limits", {{"descriptors", descriptors},
                      {"max_connections", limit_->most()},
                      {"carried", carried},
                      {"registered_descriptors", table}});

  for (unsigned i = 0; i < count; ++i) {
    metrics::ShardMetrics& metrics = registry_->add_shard(i);
    auto shard = Shard::create({.index = i,
                                .cpu = pinned ? std::optional(cpus[i]) : std::nullopt,
                                .registered_descriptors = static_cast<unsigned>(table),
                                .max_handshakes = options_.max_handshakes,
                                .busy_poll = std::chrono::microseconds(options_.busy_poll_us),
                                .drain_timeout = options_.drain_timeout,
                                .timeouts = timeouts_,
                                .records = records_,
                                .limit = *limit_,
                                .metrics = metrics,
                                .connection_log = *access_log_,
                                .on_ended = [this] { inbox_->post([this] { shard_ended(); }); }});
    if (!shard) {
      log_error("no io_uring for a shard", {{"shard", i}, {"error", shard.error()}});
      return false;
    }
    shard_metrics_.push_back(&metrics);
    shards_.push_back(*std::move(shard));
  }

  for (const ListenAddress& listen : options_.listen) {
    // Port 0: the first shard's port is everybody's.
    auto address = iouring::SocketAddress::parse(listen.text);
    for (const auto& shard : shards_) {
      const auto got = address ? shard->listen(listen.text, *address)
                               : std::unexpected(std::string("not an address"));
      if (!got) {
        log_error("cannot listen", {{"listener", listen.text}, {"error", got.error()}});
        return false;
      }
      address = *got;
    }
    log_info("listening", {{"listener", listen.text}, {"address", address->to_string()}});
  }
  return true;
}

bool Control::start_watching() {
  auto ring = iouring::Ring::create({.entries = 64, .completion_entries = 256});
  if (!ring) {
    log_error("no io_uring", {{"error", ring.error().what}});
    return false;
  }
  ring_ = *std::move(ring);
  auto inbox = iouring::Inbox::create(*ring_);
  auto signals = iouring::Signals::create(*ring_, {SIGHUP, SIGTERM, SIGINT});
  auto watch = iouring::Watch::create(*ring_);
  if (!inbox || !signals || !watch) {
    const iouring::Errno error = !inbox     ? inbox.error()
                                 : !signals ? signals.error()
                                            : watch.error();
    log_error("cannot wait for signals and files", {{"error", error.name()}});
    return false;
  }
  inbox_ = *std::move(inbox);
  signals_ = *std::move(signals);
  watch_ = *std::move(watch);
  tasks_ = std::make_unique<iouring::TaskGroup>(*ring_);
  return true;
}

bool Control::start_shards() {
  std::string error;
  const auto contexts = server_contexts(config_.credentials(), error);
  if (contexts.empty()) {
    log_error("configuration refused", {{"source", "credentials"}, {"error", error}});
    return false;
  }
  auto snapshot = next_snapshot();
  {
    const std::lock_guard lock(mutex_);
    snapshot_ = snapshot;
  }
  show_facts(*snapshot);
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i]->start(snapshot, contexts[i]);
    ++shards_alive_;
  }
  return true;
}

bool Control::start_admin() {
  AdminHandlers handlers{
      .metrics = [this] { return scrape(); },
      .readiness = [this] { return readiness(); },
      .connections_json = [this](unsigned limit) { return connections_json(connections(limit)); },
      .routes_json =
          [this] {
            const auto now = snapshot();
            return routes_json(*now->policy, *now->endpoints);
          },
      .credentials_json = [this] { return credentials_json(*snapshot()->credentials); }};
  auto admin = AdminServer::start({.address = options_.admin.text,
                                   .host = options_.admin.host,
                                   .v6 = options_.admin.v6,
                                   .loopback = options_.admin.loopback,
                                   .expose_all = options_.admin_expose_all},
                                  std::move(handlers));
  if (!admin) {
    log_error("cannot start the admin server", {{"error", admin.error()}});
    return false;
  }
  admin_ = *std::move(admin);
  const std::string host =
      options_.admin.v6 ? "[" + options_.admin.host + "]" : options_.admin.host;
  log_info("admin listening", {{"address", host + ":" + std::to_string(admin_->port())}});
  return true;
}

iouring::Task<void> Control::main() {
  watch_directories();
  tasks_->spawn(listen_to_signals());
  tasks_->spawn(watch_files());
  tasks_->spawn(look_now_and_then());
  co_await tasks_->join();  // until the last shard has ended
}

iouring::Task<void> Control::listen_to_signals() {
  for (;;) {
    iouring::Result<int> signal = co_await signals_->next();
    if (!signal) co_return;
    if (*signal == SIGHUP) {
      log_info("reloading", {{"signal", "SIGHUP"}});
      notify_reloading();
      reload(true);
      notify_ready();
    } else if (!draining_.exchange(true)) {
      log_info("draining", {{"signal", *signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
      notify_stopping();
      tasks_->spawn(drain());
    } else {
      log_warning("ending at once: second signal");
      for (const auto& shard : shards_) {
        shard->drain();
        shard->end_connections();
      }
    }
  }
}

iouring::Task<void> Control::drain() {
  if (options_.drain_delay.count() > 0) {
    iouring::Result<> slept = co_await iouring::sleep_for(*ring_, options_.drain_delay);
    if (!slept) co_return;
  }
  for (const auto& shard : shards_) shard->drain();
}

iouring::Task<void> Control::watch_files() {
  for (;;) {
    iouring::Result<iouring::WatchEvent> event = co_await watch_->next();
    if (!event) {
      if (event.error().value != ECANCELED) {
        log_error("cannot watch files any more", {{"error", event.error().name()}});
      }
      co_return;
    }
    iouring::Result<> settled = co_await iouring::sleep_for(*ring_, kSettle);
    if (!settled) co_return;
    while (watch_->pending() > 0) {
      [[maybe_unused]] iouring::Result<iouring::WatchEvent> same = co_await watch_->next();
    }
    reload(false);
  }
}

iouring::Task<void> Control::look_now_and_then() {
  for (;;) {
    iouring::Result<> slept = co_await iouring::sleep_for(*ring_, kLookEvery);
    if (!slept) co_return;
    reload(false);
  }
}

// A directory that was replaced has a new inode: ask for all of them again each time.
void Control::watch_directories() {
  for (const std::filesystem::path& directory : config_.directories()) {
    const iouring::Result<int> watched = watch_->add_blocking(directory);
    if (watched) {
      unwatched_.erase(directory);
    } else if (unwatched_.insert(directory).second) {
      log_warning("directory not watched, only looked at every few seconds",
                  {{"directory", directory.string()}, {"error", watched.error().name()}});
    }
  }
}

void Control::reload(bool force) {
  const Config::Reload reloaded = config_.reload(force);
  // Shards first: whoever sees the success counted may rely on it.
  if (reloaded.changed) {
    resolver_->watch(config_.discovery().host_names());
    publish();
  }
  for (std::size_t i = 0; i < kSources; ++i) {
    const SourceOutcome& outcome = reloaded.outcomes[i];
    if (!outcome.read) continue;
    const std::string_view source = to_string(static_cast<Source>(i));
    registry_->config_reloaded(source, !outcome.error, system_clock::now());
    if (outcome.error) {
      log_error("reload refused, last good state stays",
                {{"source", source}, {"error", *outcome.error}});
    } else {
      log_info("reloaded", {{"source", source}});
    }
  }
  log_ignored_groups(reloaded);
  if (reloaded.routes_split) {
    log_warning("several routes now, and no policy file: each takes only the SNI of its own name",
                {{"file", options_.discovery}});
  }
  watch_directories();
  if (reloaded.changed) log_warnings();
}

void Control::publish() {
  std::string error;
  const auto contexts = server_contexts(config_.credentials(), error);
  if (contexts.empty()) {
    log_error("reload refused, last good state stays",
              {{"source", "credentials"}, {"error", error}});
    return;
  }
  auto snapshot = next_snapshot();
  {
    const std::lock_guard lock(mutex_);
    snapshot_ = snapshot;
  }
  show_facts(*snapshot);
  for (std::size_t i = 0; i < shards_.size(); ++i) shards_[i]->update(snapshot, contexts[i]);
}

std::shared_ptr<const Snapshot> Control::next_snapshot() const {
  const auto previous = snapshot();
  return std::make_shared<const Snapshot>(
      Snapshot{.generation = previous ? previous->generation + 1 : 1,
               .credentials = config_.credentials(),
               .policy = config_.policy(),
               .endpoints = EndpointSet::build(config_.discovery(), *resolver_->current(),
                                               previous ? previous->endpoints.get() : nullptr)});
}

void Control::show_facts(const Snapshot& snapshot) {
  std::vector<metrics::BackendUp> backends;
  for (const RouteEndpoints& route : snapshot.endpoints->routes()) {
    for (const auto& endpoint : route.endpoints) {
      backends.push_back({.route = route.name,
                          .backend = endpoint->target,
                          .up = endpoint->takes_new_connections()});
    }
    for (const std::string& target : route.unresolved) {
      backends.push_back({.route = route.name, .backend = target, .up = false});
    }
  }
  registry_->set_backends(std::move(backends));
  std::vector<metrics::CertificateExpiry> certificates;
  for (const ktls::Expiry& expiry : snapshot.credentials->certificate_expiries()) {
    certificates.push_back(
        {.role = std::string(expiry.role), .name = expiry.name, .not_after = expiry.at});
  }
  registry_->set_certificates(std::move(certificates));
  std::vector<metrics::CrlNextUpdate> crls;
  for (const ktls::Expiry& expiry : snapshot.credentials->crl_next_updates()) {
    crls.push_back({.name = expiry.name, .next_update = expiry.at});
  }
  registry_->set_crls(std::move(crls));
}

// Groups without a route are Prometheus' business; a forgotten label must be seen all the same.
void Control::log_ignored_groups(const Config::Reload& reloaded) {
  const SourceOutcome& discovery = reloaded.of(Source::kDiscovery);
  if (!discovery.read || discovery.error || config_.discovery().ignored_groups == 0) return;
  log_info("groups without a route label ignored",
           {{"file", options_.discovery}, {"groups", config_.discovery().ignored_groups}});
}

void Control::log_warnings() {
  for (const std::string& warning : config_.warnings()) {
    log_warning("configuration", {{"warning", warning}});
  }
}

void Control::shard_ended() {
  if (!draining_.exchange(true)) {
    // Its listeners are gone: a gateway of fewer shards would refuse its share of clients.
    log_error("a shard ended by itself: draining the others");
    shard_failed_ = true;
    for (const auto& shard : shards_) shard->drain();
  }
  if (--shards_alive_ == 0) tasks_->cancel_all();
}

std::vector<std::shared_ptr<ktls::ServerContext>> Control::server_contexts(
    const std::shared_ptr<const ktls::Credentials>& credentials, std::string& error) const {
  std::vector<std::shared_ptr<ktls::ServerContext>> contexts;
  for (std::size_t i = 0; i < std::max<std::size_t>(shards_.size(), 1); ++i) {
    auto context = ktls::ServerContext::create(credentials, listener_set());
    if (!context) {
      error = context.error().message();
      return {};
    }
    contexts.push_back(*std::move(context));
  }
  return contexts;
}

// Gateways with the same listeners share tickets, in whatever order their flags stand.
std::string Control::listener_set() const {
  std::set<std::string> texts;
  for (const ListenAddress& listen : options_.listen) texts.insert(listen.text);
  std::string joined;
  for (const std::string& text : texts) joined += text + "\n";
  return joined;
}

std::shared_ptr<const Snapshot> Control::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

Readiness Control::readiness() const {
  if (draining_) return {.ready = false, .reason = "draining"};
  const auto now = snapshot();
  if (now->credentials->own_not_after() <= system_clock::now()) {
    return {.ready = false, .reason = "a certificate of the gateway has expired"};
  }
  if (now->endpoints->usable() == 0) return {.ready = false, .reason = "no usable endpoint"};
  return {.ready = true, .reason = {}};
}

std::string Control::scrape() {
  {
    const std::lock_guard lock(mutex_);  // two admin threads; a counter has one writer at a time
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      shard_metrics_[i]->busy(shards_[i]->busy_time());
    }
  }
  return registry_->scrape();
}

std::vector<ConnectionFacts> Control::connections(unsigned limit) {
  std::vector<ConnectionFacts> all;
  for (const auto& shard : shards_) {
    if (all.size() >= limit) break;
    auto some = shard->connections(limit - all.size());
    std::ranges::move(some, std::back_inserter(all));
  }
  return all;
}

}  // namespace sallyport::gateway
