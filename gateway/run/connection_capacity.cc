#include "gateway/run/connection_capacity.h"

#include <algorithm>

namespace sallyport::gateway {
namespace {

// Descriptors that are not connections: ring, files, admin, logs.
constexpr std::uint64_t kOtherDescriptors = 128;
// One in sixteen, within these, may belong to a check: enough for 5,000 silent endpoints, by
// default.
constexpr std::uint64_t kPartForChecks = 16;
constexpr std::uint64_t kFewestChecks = 1;
constexpr std::uint64_t kMostChecks = 1024;
// Where connections have the tables, descriptors of the process are left for those that wait.
constexpr std::uint64_t kPartForWarm = 4;
// The kernel's limit (IORING_MAX_FIXED_FILES) is higher; a slot costs it 8 bytes.
constexpr std::uint64_t kLargestTable = 1 << 18;

}  // namespace

// A connection takes two slots of a ring's table, or, on kernels that cannot bring a descriptor
// back from there, two ordinary descriptors.
ConnectionCapacity connection_capacity(std::uint64_t descriptors, unsigned shards,
                                       bool can_install) {
  const std::uint64_t checks = std::clamp(descriptors / kPartForChecks, kFewestChecks, kMostChecks);
  ConnectionCapacity capacity{
      .connections = 1, .checks = static_cast<unsigned>(checks), .warm = checks};
  if (can_install) {
    capacity.registered_descriptors = std::min(descriptors, kLargestTable);
    capacity.connections = shards * capacity.registered_descriptors / 2;
    capacity.warm = descriptors / kPartForWarm;
  } else if (descriptors > kOtherDescriptors + checks + capacity.warm + 2) {
    capacity.connections = (descriptors - kOtherDescriptors - checks - capacity.warm) / 2;
  }
  return capacity;
}

}  // namespace sallyport::gateway
