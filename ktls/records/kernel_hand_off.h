#pragma once

#include <expected>
#include <memory>

#include "ktls/records/kernel_tls_probe.h"
#include "ktls/records/record_layer.h"

namespace sallyport::ktls {

/// Why a connection was not handed over.
struct KernelRefusal {
  KtlsFallback reason = KtlsFallback::kNotProbed;
  /// Of kKeyRefused; ENOTCONN, also of kSocketUnsuitable: the peer has gone.
  int sys_errno = 0;
  /// The kernel had taken the transmit key and then refused the receive key: the connection cannot
  /// go on in any model. A fatal alert was sent if the socket had room; the userspace layer is
  /// gone.
  bool connection_lost = false;
};

/// Hands both directions of `userspace` (a layer of userspace_records()) over to the kernel:
/// TLS_TX, then TLS_RX, with the sequence numbers reached. On success `userspace` is null and the
/// layer returned owns the socket. On a refusal that is not connection_lost, `userspace` is as it
/// was and goes on; everything that can be checked is checked before the kernel gets a key.
///
/// No operation of the layer may be under way. Bytes that it had read ahead (unopened()) are opened
/// in userspace and delivered first; the missing bytes of a record that is cut are read exactly,
/// and only then does the kernel get the receive key, from within receive().
///
/// attach_kernel_tls() is done here unless it was done before.
/// The socket must not be in the ring's table yet, but may move there at once. `kernel` is copied
/// from. `role`: which end this is. Counters go on from those of `userspace`.
///
/// In the layer returned a KeyUpdate of the peer fails with kKeyUpdateUnsupported where the kernel
/// cannot re-key, after everything before it was delivered. Sending ends with kSequenceExhausted
/// and a fatal alert before the limit of RFC 8446 5.5 there and in TLS 1.2, which has no KeyUpdate;
/// elsewhere it re-keys. export_state() is nothing while the socket is in the table.
std::expected<std::unique_ptr<RecordLayer>, KernelRefusal> hand_to_kernel(
    std::unique_ptr<RecordLayer>& userspace, const KernelTls& kernel, RecordPools& pools,
    Role role = Role::kServer);

}  // namespace sallyport::ktls
