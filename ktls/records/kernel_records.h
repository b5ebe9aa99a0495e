#pragma once

#include <cstdint>
#include <memory>

#include "ktls/records/kernel_tls_probe.h"
#include "ktls/records/leftover_records.h"
#include "ktls/records/record_layer.h"

namespace sallyport::ktls {

/// Where a connection stands when its records go to the kernel.
struct KernelStart {
  const RecordCounters& counters;  ///< copied; the layer goes on counting from there
  std::uint64_t stream_start;      ///< bytes_given_to_tcp(): none of these are the kernel's records
  /// Not null: opened first; until then the kernel has no receive key.
  std::unique_ptr<LeftoverRecords> leftover;
};

/// TLS records that the kernel seals and opens, behind the record contract. For hand_to_kernel(),
/// which says what the layer does and gives the kernel the keys of `state` before the layer is
/// used: TLS_TX, and TLS_RX unless there is leftover.
std::unique_ptr<RecordLayer> kernel_records(iouring::Socket socket, const SessionState& state,
                                            const KernelTls& kernel, RecordPools& pools, Role role,
                                            KernelStart start);

}  // namespace sallyport::ktls
