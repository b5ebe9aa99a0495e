#include "gateway/run/swap.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "gateway/observe/log.h"

namespace sallyport::gateway {
namespace {

namespace fs = std::filesystem;

// proc_swaps(5): a heading, then a line for each. No file: a kernel without swap.
bool machine_swaps(const fs::path& root) {
  std::ifstream swaps(root / "proc/swaps");
  std::string heading;
  std::string device;
  return std::getline(swaps, heading) && swaps >> device;
}

// cgroup v2, where systemd and containers have it; of our group or one above.
bool group_may_swap(const fs::path& root) {
  const fs::path top = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;
    fs::path group = top;
    for (const fs::path& part : fs::path("." + line.substr(3))) {
      group /= part;
      std::string most;
      if (std::ifstream(group / "memory.swap.max") >> most && most == "0") return false;
    }
  }
  return true;
}

}  // namespace

Swapping swapping(rlim_t lockable_bytes, const fs::path& root) {
  if (!machine_swaps(root) || !group_may_swap(root)) return Swapping::kImpossible;
  return lockable_bytes == RLIM_INFINITY ? Swapping::kLockable : Swapping::kPossible;
}

void keep_keys_out_of_swap() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) limit.rlim_cur = 0;
  std::string why = "the limit on locked memory";
  switch (swapping(limit.rlim_cur)) {
    case Swapping::kImpossible:
      return log_info("memory is not swapped");
    case Swapping::kLockable:
      if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)
        return log_info("memory is locked, and so not swapped");
      why = std::string("mlockall: ") + std::strerror(errno);
      break;
    case Swapping::kPossible:
      break;
  }
  log_warning("memory may be swapped, and keys with it",
              {{"why", why}, {"set", "MemorySwapMax=0 or LimitMEMLOCK=infinity in the unit"}});
}

}  // namespace sallyport::gateway
