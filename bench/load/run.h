// What all modes share: the run's objects, its clock, and the measurement between two moments.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "bench/load/connection.h"
#include "bench/load/options.h"
#include "bench/load/process.h"
#include "bench/load/report.h"

namespace sallyport::bench {

/// Set by SIGTERM and SIGINT: the mode ends early and reports what it has.
bool stop_requested();
void stop_on_signals();

struct Run {
  explicit Run(const Options& given);
  Options options;
  ProcessTree tested;
  Loop loop;
  Target target;
  std::unique_ptr<Client> client;
  Tally tally;
  Context context;
};

/// CPU time and wall time between begin() and end().
class Measurement {
 public:
  explicit Measurement(const Run& run) : tested_(run.tested), machine_(run.options.machine) {}
  void begin();
  void end();

  std::chrono::nanoseconds wall() const { return wall_; }
  std::chrono::nanoseconds cpu() const { return cpu_; }
  /// Adds seconds, cpu_seconds, server_busy (CPU per second of wall time; near 1 the server was the
  /// limit), load_busy (the same of this program), and cpu_us_per_<unit> when `units` is not zero;
  /// with --machine also kernel_threads_seconds, and machine_seconds: the CPU time of all
  /// processes.
  void add_to(JsonObject& report, uint64_t units, const std::string& unit) const;

 private:
  const ProcessTree& tested_;
  bool machine_;
  Clock::time_point began_;
  std::chrono::nanoseconds wall_{}, cpu_{}, own_{}, kernel_threads_{}, everybody_{};
};

/// Intended moments, `rate` a second, the first one now.
class Pace {
 public:
  Pace(double rate, Clock::time_point start)
      : interval_(std::chrono::nanoseconds(static_cast<int64_t>(1e9 / rate))), next_(start) {}
  Clock::time_point next() const { return next_; }
  Clock::time_point take() { return std::exchange(next_, next_ + interval_); }

 private:
  Clock::duration interval_;
  Clock::time_point next_;
};

/// Called once a turn; returns when it wants to be called again at the latest.
using Tick = std::function<Clock::time_point(Clock::time_point now)>;

/// Turns the loop until `until`, until `done`, or until a signal.
void drive(Run& run, Clock::time_point until, const Tick& tick = {},
           const std::function<bool()>& done = {});

struct HeldCounts {
  unsigned settled = 0;
  unsigned lost = 0;
};

/// A connection that is opened once and held; settle() says that it is as the mode wants it.
class HeldConnection : public Connection {
 public:
  HeldConnection(Run& run, HeldCounts& counts) : Connection(run.context), counts_(counts) {}

 protected:
  void settle() { ++counts_.settled; }
  /// The backend's command and its numbers. False when the connection is lost.
  bool write_command(char command, std::span<const uint64_t> numbers);
  void ended(bool finished) override { counts_.lost += finished ? 0 : 1; }

 private:
  HeldCounts& counts_;
};

/// Opens all, at most options.opening on their way at once; with `tickets` all share that slot.
/// Dies when one is lost, or none comes up for a minute.
void open_all(Run& run, const HeldCounts& counts, const std::vector<HeldConnection*>& all,
              TicketSlot* tickets = nullptr);

/// Members that every report has: mode, client, connections, errors, error_texts.
JsonObject new_report(const Run& run);

/// Prints the report as one line and flushes it.
void print(const JsonObject& report);

// The modes. Each returns the exit code: 0 when no connection had an error.
int run_handshakes(Run& run, bool resume);
int run_transfer(Run& run, bool upload);
int run_requests(Run& run);
int run_idle(Run& run);
int run_crypto(const Options& options);
int run_storm(Run& run, char** argv);

}  // namespace sallyport::bench
