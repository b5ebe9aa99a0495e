#include "metrics/process.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace sallyport::metrics {
namespace {

// Seconds since the epoch at which the machine booted; unset if unknown.
std::optional<double> boot_time() {
  std::ifstream stat("/proc/stat");
  std::string word;
  while (stat >> word) {
    double seconds = 0;
    if (word == "btime" && stat >> seconds) return seconds;
  }
  return std::nullopt;
}

// /proc/self/stat, proc(5). The command name may hold spaces and parentheses: skip past the last.
void read_stat(ProcessSample& sample) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line)) return;
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return;
  std::istringstream fields(line.substr(name_end + 1));

  std::string state;
  fields >> state;  // field 3
  constexpr int kFirst = 4;
  constexpr int kLast = 24;
  double value[kLast + 1] = {};
  for (int field = kFirst; field <= kLast; ++field) fields >> value[field];
  if (!fields) return;

  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  sample.cpu_seconds = (value[14] + value[15]) / ticks;
  sample.threads = static_cast<std::uint64_t>(value[20]);
  if (const auto boot = boot_time()) sample.start_time_seconds = *boot + value[22] / ticks;
  sample.virtual_bytes = static_cast<std::uint64_t>(value[23]);
  sample.resident_bytes =
      static_cast<std::uint64_t>(value[24]) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::optional<std::uint64_t> count_open_fds() {
  // Since Linux 6.2 the size of the directory is the count, which spares listing thousands of
  // entries and needs no permission to read it (a process that dropped its user may have none).
  struct stat info{};
  if (::stat("/proc/self/fd", &info) == 0 && info.st_size > 0) {
    return static_cast<std::uint64_t>(info.st_size);
  }
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return std::nullopt;
  std::uint64_t entries = 0;
  while (::readdir(directory) != nullptr) ++entries;
  ::closedir(directory);
  return entries < 3 ? 0 : entries - 3;  // ".", ".." and the directory's own
}

}  // namespace

ProcessSample sample_process() {
  ProcessSample sample;
  read_stat(sample);
  sample.open_fds = count_open_fds();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    sample.max_fds = limit.rlim_cur;
  }
  return sample;
}

}  // namespace sallyport::metrics
