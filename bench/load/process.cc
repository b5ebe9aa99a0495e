#include "bench/load/process.h"

#include <dirent.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "bench/load/fd.h"

namespace sallyport::bench {
namespace {

std::chrono::nanoseconds read_clock(clockid_t clock) {
  timespec now{};
  if (::clock_gettime(clock, &now) != 0) return {};  // gone meanwhile: its time is lost
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// proc_pid_task_children(5) of every thread of the process.
void append_children(pid_t pid, std::vector<pid_t>& to) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(tasks.c_str()), ::closedir);
  if (!directory) return;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream children(tasks + "/" + entry->d_name + "/children");
    for (pid_t child; children >> child;) to.push_back(child);
  }
}

}  // namespace

std::vector<pid_t> ProcessTree::tree() const {
  std::vector<pid_t> all = roots_;
  for (size_t i = 0; i < all.size(); ++i) append_children(all[i], all);
  return all;
}

std::chrono::nanoseconds ProcessTree::cpu_time() const {
  std::chrono::nanoseconds sum{};
  for (const pid_t pid : tree()) {
    clockid_t clock{};
    if (::clock_getcpuclockid(pid, &clock) == 0) sum += read_clock(clock);
  }
  return sum;
}

uint64_t ProcessTree::rss_kib() const {
  uint64_t sum = 0;
  for (const pid_t pid : tree()) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmRSS:")) sum += std::strtoull(line.c_str() + 6, nullptr, 10);
    }
  }
  return sum;
}

ProcessTree kernel_threads() {
  return ProcessTree({2});  // kthreadd, parent of them all
}

std::chrono::nanoseconds own_cpu_time() {
  return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

std::chrono::nanoseconds machine_cpu_time() {
  std::chrono::nanoseconds sum{};
  std::ifstream stat("/proc/schedstat");
  for (std::string line; std::getline(stat, line);) {
    if (!line.starts_with("cpu")) continue;
    std::istringstream words(line);
    std::string word;
    for (int skipped = 0; skipped < 7; ++skipped) words >> word;
    uint64_t running = 0;
    if (words >> running) sum += std::chrono::nanoseconds(running);
  }
  return sum;
}

}  // namespace sallyport::bench
