// sallyport-load: an mTLS load generator that reports what the process under test spends. It shares
// nothing with the gateway, so that an error is not measured by itself. One JSON line on stdout.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdio>

#include "bench/load/run.h"

using namespace sallyport::bench;

namespace {

void prepare_process(const Options& options) {
  stop_on_signals();
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  // The default of 50 µs would be a third of the distance between two requests at 7,000 a second.
  ::prctl(PR_SET_TIMERSLACK, 1);
  if (options.realtime) {
    const sched_param priority{.sched_priority = 1};
    if (::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &priority) != 0) {
      std::perror("sallyport-load: --realtime");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  prepare_process(options);
  if (options.mode == "crypto") return run_crypto(options);
  Run run(options);
  if (options.mode == "handshake") return run_handshakes(run, false);
  if (options.mode == "resumed") return run_handshakes(run, true);
  if (options.mode == "download") return run_transfer(run, false);
  if (options.mode == "upload") return run_transfer(run, true);
  if (options.mode == "request") return run_requests(run);
  if (options.mode == "idle") return run_idle(run);
  if (options.mode == "storm") return run_storm(run, argv);
  std::fprintf(stderr, "sallyport-load: unknown mode %s\n", options.mode.c_str());
  return 2;
}
