#include "gateway/run/gateway.h"

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/connection/close_reason.h"
#include "gateway/connection/proxy_header_count.h"
#include "gateway/observe/log.h"
#include "gateway/observe/priority.h"
#include "gateway/run/admin_handlers.h"
#include "gateway/run/endpoint_watch.h"
#include "gateway/run/exit_code.h"
#include "gateway/run/handle_signals.h"
#include "gateway/run/local_address.h"
#include "gateway/run/probe_records.h"
#include "gateway/run/process.h"
#include "gateway/run/service_manager.h"
#include "gateway/run/service_status.h"
#include "gateway/run/socket_paths.h"
#include "gateway/run/start_line.h"
#include "gateway/run/swap.h"
#include "gateway/run/versions.h"
#include "ktls/handshake/tls_library.h"

namespace sallyport::gateway {
namespace {

// Host names that do not resolve in this time are added when they do.
constexpr std::chrono::seconds kFirstResolution{5};

metrics::BuildInfo build_info() {
  Versions all = versions();
  return {.version = all.sallyport,
          .openssl = all.openssl,
          .kernel = all.kernel,
          .liburing = all.liburing};
}

}  // namespace

// What needs privileges comes first. The files are read without them, as reloads read them: what
// this user could not read again is found now.
int Gateway::run() {
  if (!check_flags()) return kExitConfiguration;
  const bool has_records = probe_kernel_records();
  forbid_core_dumps();
  keep_keys_out_of_swap();
  if (!confine()) return kExitFailed;
  open_log_and_metrics();
  report_tls_library();
  // All that is wrong is told at once: the files are read although an address is in use.
  const bool bound = bind_listeners();
  if (!drop_privileges()) return kExitFailed;
  const bool has_files = read_files();
  if (!has_records || !bound || !has_files) {
    report_admin_addresses();
    return has_records && has_files ? kExitFailed : kExitConfiguration;
  }
  if (!resolve_host_names()) return kExitFailed;
  if (!start_shards()) return kExitConfiguration;
  if (!start_admin() || !listen()) {
    stop_shards();
    return kExitFailed;
  }
  reloader_->log_findings(true);
  take_requests();
  log_started(options_, config_, records_, shards_->size());
  notify_ready();
  // A reload on a shard's CPU takes milliseconds. A shard that is busy for half of its time has had
  // its share, and would wait for the end of it.
  give_way_to_earlier_threads();
  serve_until_drained();
  log_info("drained");
  return drain_->failed() ? kExitFailed : kExitDrained;
}

// What the machine has to say of them: the user to become, and where paths of sockets lead.
bool Gateway::check_flags() {
  bool good = true;
  const auto refuse = [&good](const std::string& error) {
    log_error("configuration refused", {{"source", "flags"}, {"error", error}});
    good = false;
  };
  if (!options_.user.empty()) {
    if (const auto found = find_user(options_.user); !found) refuse(found.error());
  }
  if (const auto shared = find_shared_socket(options_)) refuse(*shared);
  return good;
}

// Before privileges are dropped: the kernel loads its modules by itself only for the privileged.
bool Gateway::probe_kernel_records() {
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

// Before the first thread, which would stay outside.
bool Gateway::confine() {
  if (!options_.confine) {
    log_warning("not confined to its files", {{"why", "--confine off"}});
    return true;
  }
  Confinement& confinement = confinement_.emplace(options_);
  for (const std::string& source : config_.sources_at_start()) confinement.allow_reading(source);
  const auto landlock = confinement.enter();
  if (!landlock) {
    log_error("cannot confine itself", {{"error", landlock.error()}, {"off", "--confine off"}});
    return false;
  }
  config_.confine_to(confinement);
  if (*landlock == 0) {
    log_warning("not confined to its files",
                {{"why", "this kernel has no Landlock, or a seccomp filter forbids it"}});
  } else {
    log_info("confined", {{"landlock", *landlock}, {"places", confinement.places()}});
  }
  return true;
}

void Gateway::open_log_and_metrics() {
  log_.emplace();
  access_log_ = std::make_unique<AccessLog>(AccessLogOptions{
      .format = options_.log_format,
      .priorities = is_journal(STDOUT_FILENO, std::getenv("JOURNAL_STREAM")),
      .logged = options_.logged_connections,
      .on_dropped =
          [](DropCause cause, std::uint64_t lines) {
            log_warning("connection lines dropped",
                        {{"cause", to_string(cause)}, {"lines", lines}});
          },
      .on_record = [this](ConnectionFacts record) { refusals_.add(std::move(record)); }});
  const metrics::Vocabulary words{.close_reasons = kCloseReasonWords,
                                  .handshake_results = ktls::kHandshakeResultWords,
                                  .fallback_reasons = ktls::kKtlsFallbackWords,
                                  .live_causes = kKeepLiveWords,
                                  .check_results = kCheckResultWords,
                                  .proxy_headers = kProxyHeaderWords};
  registry_ = std::make_unique<metrics::Registry>(words, build_info());
  if (auto support = ktls_support_metrics(records_))
    registry_->set_ktls_support(*std::move(support));
}

void Gateway::report_tls_library() {
  const ktls::TlsLibrary& library = ktls::tls_library(options_.openssl_tuning);
  const std::string_view mode = ktls::to_string(library.mode);
  registry_->set_tls_library(mode);
  const std::string openssl = versions().openssl;
  const std::string providers = ktls::openssl_providers();
  if (library.mode == ktls::TlsLibraryMode::kTuned) {
    log_info("tls library", {{"mode", mode}, {"openssl", openssl}, {"providers", providers}});
  } else {
    log_info("tls library", {{"mode", mode},
                             {"openssl", openssl},
                             {"providers", providers},
                             {"reason", library.reason}});
  }
}

bool Gateway::bind_listeners() {
  loop_ = ControlLoop::create();
  if (!loop_) return false;
  shards_ = ShardSet::create(
      {.options = options_,
       .records = records_,
       .registry = *registry_,
       .connection_log = *access_log_,
       .can_install = loop_->ring->has(iouring::Opcode::kFixedFdInstall),
       .on_ended = [this] { loop_->inbox->post([this] { drain_->shard_ended(); }); }});
  if (!shards_) return false;
  drain_.emplace(*loop_, *shards_, options_.drain_delay, [this] {
    notify_stopping();
    if (options_.share_port && admin_) admin_->leave_ports();
  });
  return true;
}

bool Gateway::drop_privileges() {
  if (options_.user.empty()) return true;
  const auto became = become_user(options_.user);
  if (!became) log_error(became.error());
  return became.has_value();
}

bool Gateway::read_files() {
  const bool has_state = open_state();
  return load_configuration() && has_state;
}

bool Gateway::open_state() {
  if (options_.state_dir.empty()) return true;
  auto directory = StateDir::open(options_.state_dir);
  if (!directory) {
    log_error("configuration refused", {{"source", "flags"}, {"error", directory.error()}});
    return false;
  }
  auto kept = read_kept_discovery(*directory, options_.discovery);
  if (!kept) log_warning("state not used", {{"error", kept.error()}});
  if (kept && *kept) config_.begin_with(**std::move(kept));
  state_ = *std::move(directory);
  return true;
}

bool Gateway::load_configuration() {
  if (!load_first(config_)) return false;
  for (std::size_t i = 0; i < kSources; ++i) {
    const auto source = static_cast<Source>(i);
    const bool refused = config_.latest().of(source).error.has_value();
    registry_->config_loaded(to_string(source),
                             refused ? *config_.kept_as_of() : std::chrono::system_clock::now());
  }
  return true;
}

bool Gateway::resolve_host_names() {
  auto resolver = Resolver::start({}, [this] {
    loop_->inbox->post([this] { reloader_->publish(); });  // runs after start_shards()
  });
  if (!resolver) {
    log_error("cannot start the resolver", {{"error", resolver.error().name()}});
    return false;
  }
  resolver_ = *std::move(resolver);
  resolver_->watch(config_.discovery().host_names());
  if (!resolver_->wait_for_first(kFirstResolution)) {
    log_warning("some names are not resolved yet");
  }
  return true;
}

bool Gateway::start_shards() {
  checker_ = std::make_unique<Checker>(shards_->carried_checks(), [this] { shards_->judge_all(); });
  publisher_.emplace(options_, config_, *resolver_, *shards_, *checker_, *registry_);
  files_.emplace(*loop_->ring, *loop_->watch);
  if (state_) {
    registry_->show_state_writes();
    keeper_.emplace(*std::exchange(state_, std::nullopt), *registry_);
  }
  reloader_.emplace(options_, config_, *resolver_, *publisher_, *registry_, *files_,
                    keeper_ ? &*keeper_ : nullptr);
  const auto published = publisher_->publish();
  if (!published) {
    log_error("configuration refused", {{"source", "credentials"}, {"error", published.error()}});
  }
  return published.has_value();
}

bool Gateway::start_admin() {
  const auto failed = [](const std::string& error) {
    log_error("cannot start the admin server", {{"error", error}});
    return false;
  };
  std::vector<AdminListener> listeners;
  for (const AdminAddress& address : options_.admin) {
    auto listener = AdminListener::bind(address, options_.share_port);
    if (!listener) return failed(listener.error());
    log_info("admin listening", {{"address", listener->address().to_string()}});
    listeners.push_back(*std::move(listener));
  }
  auto admin = AdminServer::start(std::move(listeners), {.expose_all = options_.admin_expose_all},
                                  make_admin_handlers(*publisher_, *shards_, *registry_, *drain_,
                                                      {*log_, *access_log_, refusals_}));
  if (!admin) return failed(admin.error());
  admin_ = *std::move(admin);
  return true;
}

// Those that start_admin() would find in use, once the start has failed.
void Gateway::report_admin_addresses() const {
  for (const AdminAddress& admin : options_.admin) {
    if (const auto why = bound_elsewhere(admin.address))
      log_error("cannot start the admin server", {{"address", admin.text}, {"error", *why}});
  }
}

// Last: what fails before takes no client from a process that has the address.
bool Gateway::listen() {
  if (options_.share_port && !kernel_migrates_requests()) {
    log_warning("--share-port: a process that stops listening resets clients in mid-connect",
                {{"set", "sysctl net.ipv4.tcp_migrate_req=1"}});
  }
  if (!shards_->listen()) return false;
  const auto taken = admin_->take_places();
  if (!taken) log_error("cannot start the admin server", {{"error", taken.error()}});
  return taken.has_value();
}

void Gateway::take_requests() {
  auto socket = ControlSocket::listen(*loop_->ring);
  if (!socket) {
    log_warning("--reload is not possible, SIGHUP is", {{"error", socket.error()}});
    return;
  }
  requests_ = *std::move(socket);
  loop_->tasks->spawn(requests_->serve(*loop_, *reloader_));
}

void Gateway::serve_until_drained() {
  loop_->tasks->spawn(handle_signals(*loop_->signals, *reloader_, *drain_));
  loop_->tasks->spawn(reloader_->reload_on_change());
  loop_->tasks->spawn(reloader_->reload_now_and_then(*loop_->ring));
  EndpointWatch endpoint_watch(*publisher_, *resolver_);
  loop_->tasks->spawn(endpoint_watch.log_changes(*loop_->ring));
  ServiceStatus status(*publisher_, *reloader_, *shards_, *drain_, *registry_);
  if (has_service_manager()) loop_->tasks->spawn(status.report_changes(*loop_->ring));
  loop_->run();  // until Drain has seen the last shard end
  admin_.reset();
  checker_.reset();
  resolver_.reset();
  shards_->join();
  access_log_.reset();
}

void Gateway::stop_shards() {
  shards_->drain();
  shards_->join();
}

}  // namespace sallyport::gateway
