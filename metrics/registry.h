// All metrics of the process: the shards' cells, the process-wide gauges, and their text form.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/cells.h"
#include "metrics/route_series.h"

namespace sallyport::metrics {

/// The labels of build_info.
struct BuildInfo {
  std::string version;   ///< of Sallyport
  std::string openssl;   ///< of the library at run time
  std::string kernel;    ///< uname -r
  std::string liburing;  ///< "2.3"
};

struct BackendFacts {
  std::string route;
  std::string backend;               ///< the target as written in the discovery file
  std::optional<bool> up = {};       ///< none: it is gone, and has connections
  std::optional<bool> healthy = {};  ///< none: not checked, or not known
  std::uint64_t connect_failures = 0;
  std::uint64_t ejections = 0;
  std::uint64_t connections = 0;
  std::vector<std::uint64_t> checks = {};  ///< by Vocabulary::check_results; empty: not checked
};

struct CertificateExpiry {
  std::string role;  ///< "server", "ca", ...
  std::string name;  ///< the file's name as configured
  std::chrono::sys_seconds not_before, not_after;
};

struct CrlNextUpdate {
  std::string name;
  std::chrono::sys_seconds this_update, next_update;
};

/// What the kernel's TLS can do: the series of ktls_supported and ktls_rekey_supported.
struct KtlsSupport {
  struct Cipher {
    std::string_view version, cipher;  ///< static storage
    bool supported = false;
  };
  std::vector<Cipher> ciphers;
  bool rekey = false;
};

/// Any thread may call any function. Nothing here waits for a shard, and no shard waits for a
/// scrape (but for the moment in which a list of pointers is copied).
class Registry {
 public:
  Registry(Vocabulary words, BuildInfo build);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// The cells of one more shard, for its thread to write. They live as long as the registry: end
  /// the shards first.
  ShardMetrics& add_shard(unsigned shard);

  using SteadyTime = std::chrono::steady_clock::time_point;
  /// Replaces what is known of backends. One that is given several times (a name with several
  /// addresses) is up, or healthy, if any is, and its counts add up. The counts of one that is not
  /// given any more are shown for another hour; of more than kMostGone those that left last.
  void set_backends(const std::vector<BackendFacts>& backends, SteadyTime now);
  /// Addresses that set_backends() is given no more from now on, and their last counts, which stay
  /// with the name: its counters do not go back.
  void forget_backends(const std::vector<BackendFacts>& addresses, SteadyTime now);
  static constexpr std::size_t kMostGone = 10'000;
  /// Replace all series of the family: what is not given is gone.
  void set_certificates(std::vector<CertificateExpiry> certificates);
  void set_crls(std::vector<CrlNextUpdate> crls);
  /// Whether what the discovery file says of a route is in force.
  void set_discovery_routes(std::map<std::string, bool> current);
  /// Without it, for records that are never the kernel's, its series are not there.
  void set_ktls_support(KtlsSupport support);
  /// Whether new connections can be served. Without it the series is not there.
  void set_ready(bool ready);
  /// The one series of tls_library: `mode` is "tuned" or "stock", of static storage. Without it the
  /// series is not there.
  void set_tls_library(std::string_view mode);

  /// The one series of generation. Without it the series is not there.
  void set_generation(std::uint64_t generation);
  /// The one series of max_connections. Without it the series is not there.
  void set_max_connections(std::uint64_t connections);
  /// The series of log_lines_dropped_total: each cause, of static storage, with its count so far.
  void set_dropped_lines(std::vector<std::pair<std::string_view, std::uint64_t>> lines);
  /// Those of log_lines_left_out_total, likewise.
  void set_left_out_lines(std::vector<std::pair<std::string_view, std::uint64_t>> lines);

  /// Counts a reload of `source` ("policy", "discovery", ...) as result success or failure; a
  /// success moves config_last_reload_success_timestamp_seconds to `now`. Counts both results of a
  /// source from its first call on.
  void config_reloaded(std::string_view source, bool success,
                       std::chrono::system_clock::time_point now);
  /// Whether the newest content of `source` is in force.
  void config_current(std::string_view source, bool current);
  /// The first load, at start: sets the timestamp and shows the source's counters as 0.
  void config_loaded(std::string_view source, std::chrono::system_clock::time_point now);

  /// Counts an attempt to write into --state-dir.
  void state_written(bool success);
  /// Shows both results of it from zero on; without it, and without a count, they are not there.
  void show_state_writes();

  /// The routes whose series are shown from zero on; those of others leave, see RouteSeries.
  void set_routes(std::set<std::string> routes);

  /// The sum of `connections` over all listeners and routes.
  [[nodiscard]] std::uint64_t open_connections() const;

  /// Every metric of the table in the Prometheus text format 0.0.4. Invalid UTF-8 in label values
  /// is replaced by U+FFFD.
  [[nodiscard]] std::string scrape() const;

 private:
  struct Source {
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
    double last_success_seconds = 0;
    bool current = true;
  };

  struct StateWrites {
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
  };

  using Names = std::pair<std::string, std::string>;  // of route and target
  struct Backend {
    BackendFacts facts;                   // but for the names
    BackendFacts lost = {};               // counters only, of addresses that are forgotten
    std::optional<SteadyTime> gone = {};  // since then
  };

  [[nodiscard]] std::vector<ShardSample> sample_shards() const;
  void leave(const Names& names, Backend& backend, SteadyTime now);
  void drop_gone(SteadyTime now);

  Vocabulary words_;
  BuildInfo build_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<ShardMetrics>> shards_;
  std::map<Names, Backend> backends_;
  std::deque<std::pair<SteadyTime, Names>> gone_;  // in the order in which they left
  std::vector<CertificateExpiry> certificates_;
  std::vector<CrlNextUpdate> crls_;
  std::map<std::string, bool> discovery_routes_;
  mutable RouteSeries routes_;
  std::optional<KtlsSupport> ktls_;
  std::optional<bool> ready_;
  std::string_view tls_library_;  // empty: not known yet
  std::optional<std::uint64_t> generation_;
  std::optional<std::uint64_t> max_connections_;
  std::vector<std::pair<std::string_view, std::uint64_t>> dropped_lines_, left_out_lines_;
  std::map<std::string, Source, std::less<>> sources_;
  std::optional<StateWrites> state_writes_;
};

}  // namespace sallyport::metrics
