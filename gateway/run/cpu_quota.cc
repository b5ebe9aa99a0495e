#include "gateway/run/cpu_quota.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::gateway {
namespace {

namespace fs = std::filesystem;

// A mounted hierarchy that may hold CPU limits.
struct Hierarchy {
  bool v2 = false;
  std::string shown;  // the group that is at the mount point, "/" but in containers
  fs::path mount_point;
};

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(std::move(word));
  return words;
}

bool names_cpu(std::string_view list) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == "cpu") return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAG...] - TYPE SOURCE
// SUPER
std::vector<Hierarchy> hierarchies(const fs::path& root) {
  std::vector<Hierarchy> found;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = words_of(line);
    const auto dash = std::ranges::find(words, "-");
    if (dash - words.begin() < 6 || words.end() - dash < 4) continue;
    const bool v2 = dash[1] == "cgroup2";
    if (!v2 && !(dash[1] == "cgroup" && names_cpu(dash[3]))) continue;
    found.push_back({v2, words[3], root / fs::path(words[4]).relative_path()});
  }
  return found;
}

// cgroups(7): HIERARCHY:CONTROLLERS:PATH, and 0::PATH for v2. Where this process is.
std::string group_of(const fs::path& root, bool v2) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    if (v2 ? line.starts_with("0::") : names_cpu(controllers)) return line.substr(second + 1);
  }
  return "/";
}

std::optional<double> limit_in(const fs::path& group, bool v2) {
  double quota = 0;
  double period = 0;
  if (v2) {
    std::ifstream(group / "cpu.max") >> quota >> period;  // "max 100000": reads no number
  } else {
    std::ifstream(group / "cpu.cfs_quota_us") >> quota;  // -1: no limit
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

// Our group below the mount point. A container may see the names of its host there, and its own
// group at the mount point itself.
fs::path below_mount_point(const std::string& group, const std::string& shown) {
  const fs::path relative = fs::path(group).lexically_relative(shown);
  const bool below = !relative.empty() && *relative.begin() != "..";
  return below ? relative : fs::path();
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  for (const Hierarchy& hierarchy : hierarchies(root)) {
    fs::path group = hierarchy.mount_point;
    const auto look = [&] {
      const auto limit = limit_in(group, hierarchy.v2);
      if (limit) least = std::min(*limit, least.value_or(*limit));
    };
    look();
    for (const fs::path& part : below_mount_point(group_of(root, hierarchy.v2), hierarchy.shown)) {
      group /= part;
      look();
    }
  }
  return least;
}

}  // namespace sallyport::gateway
