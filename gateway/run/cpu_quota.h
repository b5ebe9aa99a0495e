#pragma once

#include <filesystem>
#include <optional>

namespace sallyport::gateway {

/// The CPU time that the control groups of this process allow it, in CPUs: 1.5 is three halves of
/// one. The least of its group and those above, of cgroup v1 (cpu.cfs_quota_us) and v2 (cpu.max),
/// as far as they are mounted here. Nothing where there is no limit. `root` is the directory that
/// holds /proc and the mounts.
[[nodiscard]] std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

}  // namespace sallyport::gateway
