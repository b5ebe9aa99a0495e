#include "bench/load/run.h"

#include <csignal>
#include <cstdio>

#include "bench/load/lean_client.h"
#include "bench/load/openssl_client.h"
#include "bench/load/plain_client.h"

namespace sallyport::bench {
namespace {

volatile std::sig_atomic_t stop_signal = 0;

std::unique_ptr<Client> make_client(const Options& options) {
  if (options.client == "openssl") return openssl_client(options);
  if (options.client == "lean") return lean_client(options);
  if (options.client == "plain") return plain_client();
  die("--client: unknown: " + options.client);
}

}  // namespace

bool stop_requested() {
  return stop_signal != 0;
}

void stop_on_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGTERM, [](int) { stop_signal = 1; });
  std::signal(SIGINT, [](int) { stop_signal = 1; });
}

Run::Run(const Options& given)
    : options(given),
      tested(given.pids),
      target(parse_target(given.connect)),
      client(make_client(given)),
      context{loop, target, *client, tally} {
  target.sources = given.sources;
  target.nagle = given.nagle;
}

void Measurement::begin() {
  began_ = Clock::now();
  cpu_ = tested_.cpu_time();
  own_ = own_cpu_time();
  if (!machine_) return;
  kernel_threads_ = kernel_threads().cpu_time();
  everybody_ = machine_cpu_time();
}

void Measurement::end() {
  if (machine_) {
    everybody_ = machine_cpu_time() - everybody_;
    kernel_threads_ = kernel_threads().cpu_time() - kernel_threads_;
  }
  cpu_ = tested_.cpu_time() - cpu_;
  own_ = own_cpu_time() - own_;
  wall_ = Clock::now() - began_;
}

void Measurement::add_to(JsonObject& report, uint64_t units, const std::string& unit) const {
  report.add("seconds", seconds(wall_));
  if (units != 0) report.add(unit + "s_per_second", static_cast<double>(units) / seconds(wall_));
  report.add("load_busy", seconds(own_) / seconds(wall_));
  if (machine_) {
    report.add("kernel_threads_seconds", seconds(kernel_threads_));
    report.add("machine_seconds", seconds(everybody_));
  }
  if (tested_.empty()) return;
  report.add("server_busy", seconds(cpu_) / seconds(wall_));
  report.add("cpu_seconds", seconds(cpu_));
  if (units != 0) report.add("cpu_us_per_" + unit, microseconds(cpu_) / static_cast<double>(units));
}

void drive(Run& run, Clock::time_point until, const Tick& tick, const std::function<bool()>& done) {
  while (!stop_requested() && !(done && done())) {
    const auto now = Clock::now();
    if (now >= until) return;
    run.loop.turn(tick ? std::min(until, tick(now)) : until);
  }
}

bool HeldConnection::write_command(char command, std::span<const uint64_t> numbers) {
  std::vector<std::byte> bytes{static_cast<std::byte>(command)};
  for (const uint64_t number : numbers) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
      bytes.push_back(static_cast<std::byte>(number >> shift));
    }
  }
  if (write(bytes) == bytes.size()) return true;
  fail("the command was not taken at once");
  return false;
}

void open_all(Run& run, const HeldCounts& counts, const std::vector<HeldConnection*>& all,
              TicketSlot* tickets) {
  size_t begun = 0;
  const auto begin_more = [&](Clock::time_point now) {
    while (begun < all.size() && begun - counts.settled < run.options.opening) {
      all[begun++]->open(tickets);
    }
    return now + std::chrono::seconds(1);
  };
  const auto done = [&] { return counts.settled == all.size() || counts.lost > 0; };
  for (unsigned before = 0;; before = counts.settled) {
    drive(run, Clock::now() + std::chrono::minutes(1), begin_more, done);
    if (done() || stop_requested() || counts.settled == before) break;
  }
  if (counts.settled == all.size()) return;
  errno = 0;
  const auto& texts = run.tally.error_texts;
  die("only " + std::to_string(counts.settled) + " of " + std::to_string(all.size()) +
      " connections came up; " + (texts.empty() ? "no error" : texts.begin()->first));
}

JsonObject new_report(const Run& run) {
  JsonObject report;
  report.add("mode", run.options.mode);
  report.add("client", run.options.client);
  report.add("connections", uint64_t{run.options.connections});
  report.add("errors", run.tally.errors);
  if (run.tally.errors != 0) report.add("error_texts", run.tally.error_texts);
  return report;
}

void print(const JsonObject& report) {
  std::printf("%s\n", report.text().c_str());
  std::fflush(stdout);
}

}  // namespace sallyport::bench
