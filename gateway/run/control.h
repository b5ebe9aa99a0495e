// The control thread: it starts the shards, keeps their snapshot fresh, and drains them.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gateway/backends/resolver.h"
#include "gateway/connection/connection_limit.h"
#include "gateway/observe/access_log.h"
#include "gateway/observe/admin.h"
#include "gateway/run/config.h"
#include "gateway/run/options.h"
#include "gateway/run/shard.h"
#include "iouring/inbox.h"
#include "iouring/ring.h"
#include "iouring/signals.h"
#include "iouring/watch.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// Exit codes of the program.
inline constexpr int kExitDrained = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitConfiguration = 2;

/// The running gateway. Made and run by the main thread, which becomes the control thread.
/// SIGHUP, SIGTERM, SIGINT must be blocked in the whole process.
class Control {
 public:
  explicit Control(const Options& options);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  /// --check: reads and checks every file, prints what is wrong or that nothing is.
  int check();
  /// Until drained. Returns the exit code.
  int run();

 private:
  bool load_first();
  bool probe_kernel();
  bool set_up_shards();
  bool start_admin();
  bool start_watching();
  bool start_shards();

  iouring::Task<void> main();
  iouring::Task<void> listen_to_signals();
  iouring::Task<void> watch_files();
  iouring::Task<void> look_now_and_then();
  iouring::Task<void> drain();

  void reload(bool force);
  void watch_directories();
  void publish();
  [[nodiscard]] std::shared_ptr<const Snapshot> next_snapshot() const;
  void show_facts(const Snapshot& snapshot);
  void log_warnings();
  void log_ignored_groups(const Config::Reload& reloaded);
  void shard_ended();
  [[nodiscard]] std::vector<std::shared_ptr<ktls::ServerContext>> server_contexts(
      const std::shared_ptr<const ktls::Credentials>& credentials, std::string& error) const;
  [[nodiscard]] std::string listener_set() const;

  // For the admin threads.
  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const;
  [[nodiscard]] Readiness readiness() const;
  [[nodiscard]] std::string scrape();
  [[nodiscard]] std::vector<ConnectionFacts> connections(unsigned limit);

  const Options& options_;
  Timeouts timeouts_;
  Config config_;
  std::unique_ptr<metrics::Registry> registry_;
  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<ConnectionLimit> limit_;
  RecordChoice records_;
  std::vector<metrics::ShardMetrics*> shard_metrics_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Resolver> resolver_;

  std::unique_ptr<iouring::Ring> ring_;
  std::unique_ptr<iouring::Inbox> inbox_;
  std::optional<iouring::Signals> signals_;
  std::optional<iouring::Watch> watch_;
  std::unique_ptr<iouring::TaskGroup> tasks_;
  std::set<std::filesystem::path> unwatched_;  // complained about already

  mutable std::mutex mutex_;  // the snapshot, for the admin threads; the busy times
  std::shared_ptr<const Snapshot> snapshot_;
  std::atomic<bool> draining_ = false;
  std::size_t shards_alive_ = 0;
  bool shard_failed_ = false;

  std::unique_ptr<AdminServer> admin_;  // last: its threads use the rest
};

}  // namespace sallyport::gateway
