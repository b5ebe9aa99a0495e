#pragma once

#include <cstdint>

#include "ktls/records/kernel_tls_probe.h"

namespace sallyport::gateway {

/// --records: whether kernel or userspace makes the records of established connections.
enum class RecordsWanted : std::uint8_t {
  kAuto,       ///< the kernel where it can, userspace where it cannot
  kKernel,     ///< the kernel; a connection that it does not take is refused
  kUserspace,  ///< userspace; the kernel is not probed
};

/// The flag, and what this kernel can do (not probed for kUserspace). A value, the same for every
/// shard.
struct RecordChoice {
  RecordsWanted wanted = RecordsWanted::kUserspace;
  ktls::KernelTls kernel;
};

}  // namespace sallyport::gateway
