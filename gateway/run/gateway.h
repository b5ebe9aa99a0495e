// The running gateway: its parts, in the order in which they come up.
#pragma once

#include <memory>
#include <optional>

#include "gateway/backends/resolver.h"
#include "gateway/observe/access_log.h"
#include "gateway/observe/admin.h"
#include "gateway/observe/log.h"
#include "gateway/observe/recent_refusals.h"
#include "gateway/run/checker.h"
#include "gateway/run/config.h"
#include "gateway/run/confinement.h"
#include "gateway/run/control_loop.h"
#include "gateway/run/control_socket.h"
#include "gateway/run/drain.h"
#include "gateway/run/file_watch.h"
#include "gateway/run/kept_discovery.h"
#include "gateway/run/options.h"
#include "gateway/run/publisher.h"
#include "gateway/run/reload.h"
#include "gateway/run/shard_set.h"
#include "gateway/run/state_dir.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// Made and run by the main thread, which becomes the control thread. SIGHUP, SIGTERM and SIGINT
/// must be blocked in the whole process.
class Gateway {
 public:
  /// `options` must outlive it.
  explicit Gateway(const Options& options) : options_(options), config_(options) {}
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Until drained. Once. Returns the exit code.
  [[nodiscard]] int run();

 private:
  // The steps of run(). False, with the reason logged, where it cannot go on.
  bool check_flags();
  bool probe_kernel_records();
  bool confine();
  void open_log_and_metrics();
  void report_tls_library();
  bool bind_listeners();
  bool drop_privileges();
  bool read_files();
  bool open_state();
  bool load_configuration();
  bool resolve_host_names();
  bool start_shards();
  bool start_admin();
  void report_admin_addresses() const;
  bool listen();
  void take_requests();
  void serve_until_drained();
  void stop_shards();

  // Each part may use those before it.
  const Options& options_;
  std::optional<LogThread> log_;
  std::optional<Confinement> confinement_;
  Config config_;
  RecordChoice records_;
  RecentRefusals refusals_;
  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<metrics::Registry> registry_;
  std::unique_ptr<ControlLoop> loop_;
  std::unique_ptr<ShardSet> shards_;
  std::optional<Drain> drain_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<Checker> checker_;
  std::optional<Publisher> publisher_;
  std::optional<FileWatch> files_;
  std::optional<StateDir> state_;  // until keeper_ has it
  std::optional<DiscoveryKeeper> keeper_;
  std::optional<Reloader> reloader_;
  std::optional<ControlSocket> requests_;
  std::unique_ptr<AdminServer> admin_;
};

}  // namespace sallyport::gateway
