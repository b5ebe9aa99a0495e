#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/net.h"
#include "tests/support/process.h"

namespace sallyport::test {

/// A scrape of /metrics.
class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;
  explicit Metrics(std::string_view exposition);

  /// The sum over all series of `name` whose labels include these; 0 when there is none.
  /// `name` without the prefix `sallyport_` is tried with it.
  double sum(const std::string& name, const Labels& labels = {}) const;
  bool has(const std::string& name, const Labels& labels = {}) const;
  /// Values that a label of a metric takes.
  std::vector<std::string> label_values(const std::string& name, const std::string& label) const;

 private:
  struct Series {
    std::string name;
    Labels labels;
    double value;
  };
  std::vector<Series> series_;
};

/// A JSON log line, its top-level values as text: strings bare, everything else as JSON.
using LogLine = std::map<std::string, std::string>;

/// JSON array of objects, as /connections gives it, in the same flat form.
std::vector<LogLine> parse_objects(std::string_view json_array);
bool is_json(std::string_view text);

/// The gateway as a process: finds the program, starts it, learns where it listens, and watches
/// what it says.
class Gateway {
 public:
  /// `flags` are everything but the program's name; listeners on port 0.
  /// Returns once /readyz answers 200, unless `wait_ready` is false. Throws TestFailure with
  /// everything that the program said when it ends before.
  explicit Gateway(std::vector<std::string> flags, bool wait_ready = true,
                   std::vector<std::string> environment = {});
  /// The same for a whole command line, the program's name (and what wraps it) included.
  struct Command {
    std::vector<std::string> argv;
  };
  explicit Gateway(Command command, bool wait_ready = true,
                   std::vector<std::string> environment = {});
  /// Stops it if the test did not; faults are only seen by stop().
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// The address that the n-th --listen got, and behind those the n-th --egress.
  const std::string& address(std::size_t listener = 0) const { return listeners_.at(listener); }
  const std::string& admin() const { return admin_; }
  HttpResponse get(const std::string& path, const std::string& method = "GET") const {
    return http(admin_, path, method);
  }
  bool ready() const { return get("/readyz").status == 200; }

  /// Scrapes, and throws unless accepted = closed + open holds for each listener.
  Metrics metrics() const;
  /// Scrapes until the sum reaches `at_least`; throws when it never does.
  void wait_metric(const std::string& name, const Metrics::Labels& labels, double at_least) const;

  /// The connection log so far (stdout), and the operational log (stderr).
  std::vector<LogLine> connection_log() const;
  std::vector<LogLine> operational_log() const;
  /// Waits for a connection line with these values and returns the first.
  LogLine wait_log(const LogLine& wanted);
  /// Waits until at least `count` connection lines are there.
  std::vector<LogLine> wait_logs(std::size_t count);
  /// Waits for an operational line that contains all of these texts, at or after `from`, an offset
  /// from err_size(); returns the line as it was written.
  std::string wait_err(std::initializer_list<std::string_view> texts, std::size_t from = 0);
  std::size_t err_size() const { return process_->err().size(); }

  Process& process() { return *process_; }
  void signal(int number) { process_->signal(number); }
  long rss_kib() const;

  /// SIGTERM, wait; the problems found: status other than 0, a sanitizer's report, a line that is
  /// not JSON. Empty when all was well.
  std::string stop();
  /// The same once it ends by itself or was signalled, for another expected status.
  std::string ended(int expected_status = 0);

 private:
  std::unique_ptr<Process> process_;
  std::vector<std::string> listeners_;
  std::string admin_;
  bool stopped_ = false;
};

/// Where the program under test is: SALLYPORT_BIN, else where CMake builds it.
std::string sallyport_program();

/// The records that gateways under test are to have, as --records says it: SALLYPORT_RECORDS, which
/// guests with kernel TLS set; else empty, any.
std::string wanted_records();

/// Runs the program to its end, for --check, --version and command lines that are refused.
Finished run_sallyport(std::vector<std::string> flags);

/// A sanitizer's report in what a process wrote, or empty.
std::string sanitizer_report(std::string_view output);

/// A discovery file: one group of targets with labels. `{{"127.0.0.1:1"}, {{"route", "orders"}}}`.
struct DiscoveryGroup {
  std::vector<std::string> targets;
  std::map<std::string, std::string> labels;
};
std::string discovery_json(const std::vector<DiscoveryGroup>& groups);

}  // namespace sallyport::test
