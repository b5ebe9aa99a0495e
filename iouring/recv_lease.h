#pragma once
// Receiving into a provided buffer, which the kernel picks when bytes have arrived.
#include <coroutine>

#include "iouring/buffer_ring.h"
#include "iouring/list.h"
#include "iouring/recv.h"

namespace sallyport::iouring {

/// Socket::recv() into a provided buffer. Without a free buffer it waits in the queue of `buffers`.
class [[nodiscard]] RecvLease final : public ReceiveOperation {
 public:
  RecvLease(Socket& socket, BufferRing& buffers) noexcept
      : ReceiveOperation(socket), buffers_(&buffers) {}
  ~RecvLease();
  Result<Lease> await_resume() noexcept;

 private:
  friend class BufferRing;
  /// The link into the queue for a buffer; the operation's own link is in the scope.
  struct InQueue : ListNode {
    explicit InQueue(RecvLease* owner) noexcept : receive(owner) {}
    RecvLease* receive;
  };
  void prepare(io_uring_sqe& sqe) noexcept override;
  bool finish(int result, unsigned flags) noexcept override;
  void on_cancel() noexcept override;
  void buffer_may_be_free() noexcept;

  BufferRing* buffers_;
  InQueue in_queue_{this};
  Lease lease_;
  bool waited_ = false;  // for a buffer
};

}  // namespace sallyport::iouring
