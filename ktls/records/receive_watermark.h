#pragma once

#include "iouring/socket.h"

namespace sallyport::ktls {

/// Keeps poll(2) from calling a socket readable for part of a record, on kernels that would
/// (KernelTls::polls_partial_records()): SO_RCVLOWAT asks for more bytes of ciphertext than wait
/// already. When a record is whole the kernel wakes the receiver whatever the watermark says.
///
/// Does nothing on other kernels. Needs the socket's descriptor; kernels that need it have no table
/// that the socket could have moved to.
class ReceiveWatermark {
 public:
  /// `socket` must outlive this.
  ReceiveWatermark(const iouring::Socket& socket, bool needed) noexcept
      : socket_(socket), needed_(needed) {}

  /// Part of a record may wait in the socket, so that poll(2) says nothing.
  bool in_doubt() const noexcept { return raised_ || part_waits(); }
  bool part_waits() const noexcept { return needed_ && queued_bytes() != 0; }

  /// Before the wait for readiness.
  void raise() noexcept {
    if (needed_) set(queued_bytes() + 1);
  }
  /// After a receive.
  void lower() noexcept {
    if (raised_) set(1);
  }

 private:
  /// Bytes of ciphertext that wait in the socket; 0 if the kernel will not say.
  int queued_bytes() const noexcept;
  void set(int bytes) noexcept;

  const iouring::Socket& socket_;
  bool needed_;
  bool raised_ = false;
};

}  // namespace sallyport::ktls
