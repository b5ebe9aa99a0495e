#pragma once

#include <cstdint>

namespace sallyport::gateway {

/// What the descriptors of the process carry.
struct ConnectionCapacity {
  std::uint64_t registered_descriptors = 0;  ///< slots of each shard's table; 0: no table is used
  std::uint64_t connections = 0;             ///< of all shards together
  unsigned checks = 0;                       ///< of endpoints, under way at once
  std::uint64_t warm = 0;                    ///< connections to endpoints that wait for a client
};

/// `descriptors` is the limit of the process (RLIMIT_NOFILE). `can_install` says whether the kernel
/// brings a descriptor back from a ring's registered table (IORING_OP_FIXED_FD_INSTALL, Linux 6.8).
[[nodiscard]] ConnectionCapacity connection_capacity(std::uint64_t descriptors, unsigned shards,
                                                     bool can_install);

}  // namespace sallyport::gateway
