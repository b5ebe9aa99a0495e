#include "gateway/run/connection_capacity.h"

#include <algorithm>

namespace sallyport::gateway {
namespace {

// Descriptors that are not connections: ring, files, admin, logs.
constexpr std::uint64_t kOtherDescriptors = 128;
// The kernel's limit (IORING_MAX_FIXED_FILES) is higher; a slot costs it 8 bytes.
constexpr std::uint64_t kLargestTable = 1 << 18;

}  // namespace

// A connection takes two slots of a ring's table, or, on kernels that cannot bring a descriptor
// back from there, two ordinary descriptors.
ConnectionCapacity connection_capacity(std::uint64_t descriptors, unsigned shards,
                                       bool can_install) {
  if (can_install) {
    const std::uint64_t table = std::min(descriptors, kLargestTable);
    return {.registered_descriptors = table, .connections = shards * table / 2};
  }
  if (descriptors <= kOtherDescriptors) return {.registered_descriptors = 0, .connections = 1};
  return {.registered_descriptors = 0, .connections = (descriptors - kOtherDescriptors) / 2};
}

}  // namespace sallyport::gateway
