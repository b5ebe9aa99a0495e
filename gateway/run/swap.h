// Whether the memory of the process, and keys in it, may get to a disk.
#pragma once

#include <sys/resource.h>

#include <filesystem>

namespace sallyport::gateway {

enum class Swapping {
  kImpossible,  ///< the machine has no swap, or our control group may not use it
  kLockable,    ///< possible, but for memory that is locked, and all of it can be
  kPossible,
};

/// `lockable_bytes` is the limit on locked memory. All or nothing is locked: OpenSSL, frames and
/// stacks hold copies of keys, and with less than all a later allocation would fail at the limit.
/// `root` is the directory that holds /proc and the control groups.
[[nodiscard]] Swapping swapping(rlim_t lockable_bytes, const std::filesystem::path& root = "/");

/// Finds out, locks what is kLockable, present and future pages as they are used, and says in the
/// log which it is. Before the process is confined. The allocator gives locked memory back to the
/// process only, not to the kernel.
void keep_keys_out_of_swap();

}  // namespace sallyport::gateway
