// What a process under test costs: CPU time and resident memory of it and all its descendants.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <vector>

namespace sallyport::bench {

/// A peer may be one process (HAProxy), a master with workers (nginx, hitch), or have threads of
/// the kernel working for it (io_uring): the whole tree below each given pid counts.
class ProcessTree {
 public:
  explicit ProcessTree(std::vector<pid_t> roots) : roots_(std::move(roots)) {}

  bool empty() const { return roots_.empty(); }

  /// User and system time since start, of all threads, ended ones included. By the processes' own
  /// CPU clocks (clock_getcpuclockid(3)): nanoseconds, where /proc/PID/stat counts ticks of 10 ms.
  std::chrono::nanoseconds cpu_time() const;

  /// Sum of VmRSS.
  uint64_t rss_kib() const;

 private:
  std::vector<pid_t> tree() const;
  std::vector<pid_t> roots_;
};

/// The kernel's own threads: work queues, soft interrupts that had to wait.
ProcessTree kernel_threads();

/// CPU time of the calling process.
std::chrono::nanoseconds own_cpu_time();

/// CPU time of all processes since the machine's start, up to the last change of tasks; 0 where the
/// kernel keeps no /proc/schedstat.
std::chrono::nanoseconds machine_cpu_time();

}  // namespace sallyport::bench
