// Mode `storm`: how established connections fare while another client makes handshakes as fast as
// it can. The storm is a process of its own, so that its work delays no request of this one.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>

#include "bench/load/requests.h"

namespace sallyport::bench {
namespace {

constexpr const char* kStormConnections = "64";

/// A second process of this program in mode `handshake`, whose report comes through a pipe.
class Storm {
 public:
  explicit Storm(char** argv) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) die("pipe2");
    report_ = Fd(ends[0]);
    const Fd writing(ends[1]);
    std::vector<char*> arguments;
    for (char** argument = argv; *argument != nullptr; ++argument) {
      const std::string_view flag = *argument;
      if (flag == "--realtime") continue;
      if (flag == "--pid" || flag == "--rate") {
        ++argument;
        continue;
      }
      arguments.push_back(*argument);
    }
    arguments[1] = const_cast<char*>("handshake");
    for (const char* more :
         {"--seconds", "100000", "--warmup", "0", "--connections", kStormConnections}) {
      arguments.push_back(const_cast<char*>(more));
    }
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
    if (::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ) != 0) {
      die("posix_spawn");
    }
    ::posix_spawn_file_actions_destroy(&actions);
  }

  /// Ends it and returns its report, empty when it failed.
  std::string stop() {
    ::kill(pid_, SIGTERM);
    std::string text;
    char part[4096];
    for (ssize_t count; (count = ::read(report_.get(), part, sizeof part)) > 0;) {
      text.append(part, static_cast<size_t>(count));
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return status == 0 ? text : std::string();
  }

 private:
  Fd report_;
  pid_t pid_ = 0;
};

}  // namespace

int run_storm(Run& run, char** argv) {
  errno = 0;
  if (run.options.rate == 0) die("storm needs --rate");
  Requests requests(run);
  requests.open();
  requests.work(run.options.warmup);
  requests.forget();
  requests.work(run.options.duration);
  const Histogram quiet = requests.latencies();

  Storm storm(argv);
  requests.work(run.options.warmup);
  requests.forget();
  Measurement measurement(run);
  measurement.begin();
  requests.work(run.options.duration);
  measurement.end();
  const Histogram beside = requests.latencies();
  const uint64_t answered = requests.answered();
  const std::string storm_report = storm.stop();
  if (storm_report.empty()) run.tally.error("the storm had errors");
  requests.close();

  JsonObject report = new_report(run);
  report.add("rate", run.options.rate);
  report.add("requests", answered);
  measurement.add_to(report, 0, "");
  report.add("quiet_latency_us", quiet);
  report.add("storm_latency_us", beside);
  if (!storm_report.empty()) report.add_json("storm", storm_report);
  print(report);
  return run.tally.errors == 0 ? 0 : 1;
}

}  // namespace sallyport::bench
