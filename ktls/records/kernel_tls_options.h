#pragma once

#include <linux/tls.h>

#include "ktls/records/crypto_info.h"

#ifndef SOL_TLS
#define SOL_TLS 282  // glibc has it since 2.40
#endif

namespace sallyport::ktls {

// The options of kernel TLS on a TCP socket that has a descriptor. Each returns 0 or an errno.

/// Attaches the kernel's TLS (TCP_ULP "tls") to a connected socket, ahead of hand_to_kernel().
/// Until there are keys, all bytes pass through unchanged, so the handshake, and userspace records
/// after it, work as on any socket. It has to be early: the kernel refuses once the peer has sent
/// its FIN, which may follow directly behind the peer's Finished.
///
/// 0 also if it was attached before. It cannot be removed again.
int attach_kernel_tls(int descriptor) noexcept;

/// Gives the kernel the key of one direction, TLS_TX or TLS_RX. A second key for the same direction
/// replaces the first on kernels that can re-key.
int set_kernel_key(int descriptor, int direction, const CryptoInfo& info) noexcept;

/// TLS_RX_EXPECT_NO_PAD; see KernelTls::can_expect_no_pad().
int expect_no_pad(int descriptor) noexcept;

}  // namespace sallyport::ktls
