#pragma once
// Provided buffers: the kernel picks one when bytes have arrived, so that an idle connection holds
// none.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "iouring/cancel.h"
#include "iouring/result.h"
#include "iouring/ring.h"

struct io_uring_buf_ring;

namespace sallyport::iouring {

class BufferRing;
class RecvLease;

/// Ownership of one buffer, which goes back to the kernel when the lease ends. An empty lease owns
/// none; from a receive it means end of file. Must not outlive its BufferRing. 16 bytes.
class [[nodiscard]] Lease {
 public:
  Lease() noexcept = default;
  Lease(Lease&& other) noexcept
      : buffers_(std::exchange(other.buffers_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        bid_(other.bid_) {}
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      release();
      buffers_ = std::exchange(other.buffers_, nullptr);
      size_ = std::exchange(other.size_, 0);
      bid_ = other.bid_;
    }
    return *this;
  }
  ~Lease() { release(); }

  [[nodiscard]] explicit operator bool() const noexcept { return buffers_ != nullptr; }
  /// What was received; writable, so that records can be opened in place.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  void release() noexcept;

 private:
  friend class BufferRing;
  Lease(BufferRing& buffers, std::uint16_t bid, std::uint32_t size) noexcept
      : buffers_(&buffers), size_(size), bid_(bid) {}

  BufferRing* buffers_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint16_t bid_ = 0;
};

/// Provided buffers of one ring (io_uring_register_buf_ring(3)). A receive that finds none
/// (ENOBUFS, which is flow control, not an error) waits for a lease to end, in order of arrival.
/// Under AddressSanitizer a buffer is poisoned while the kernel owns it. Aborts when destroyed with
/// a lease or a receive outstanding.
class BufferRing {
 public:
  static constexpr std::size_t kDefaultBytes = 4096;
  static constexpr unsigned kDefaultCount = 128;

  /// `count` is a power of two, at most 32768. Errors: ENOMEM, EINVAL, those of the registration:
  /// EACCES of a ring that has run (restrictions.h).
  [[nodiscard]] static Result<std::unique_ptr<BufferRing>> create(
      Ring& ring, std::size_t buffer_bytes = kDefaultBytes, unsigned count = kDefaultCount);
  BufferRing(const BufferRing&) = delete;
  BufferRing& operator=(const BufferRing&) = delete;
  ~BufferRing();

  [[nodiscard]] std::size_t buffer_bytes() const noexcept { return buffer_bytes_; }
  [[nodiscard]] unsigned leased() const noexcept { return leased_; }
  /// Receives that wait for a buffer.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  /// How often a receive found no buffer.
  [[nodiscard]] std::uint64_t exhausted() const noexcept { return exhausted_; }

 private:
  friend class Lease;
  friend class RecvLease;
  /// Scheduled while receives wait and buffers are free.
  class Waker final : public Waiter {
   public:
    explicit Waker(BufferRing& buffers) noexcept : buffers_(&buffers) {}
    ~Waker() { unlink(); }
    void on_cancel() noexcept override {}
    void on_ready() noexcept override { buffers_->wake_waiting(); }

   private:
    BufferRing* buffers_;
  };

  BufferRing(Ring& ring, std::size_t buffer_bytes, unsigned count) noexcept;
  Result<> set_up() noexcept;
  [[nodiscard]] std::span<std::byte> room(std::uint16_t bid) const noexcept {
    return {memory_ + static_cast<std::size_t>(bid) * buffer_bytes_, buffer_bytes_};
  }
  /// Hands the buffer to the kernel.
  void provide(std::uint16_t bid) noexcept;
  [[nodiscard]] Lease lease(std::uint16_t bid, std::uint32_t size) noexcept;
  void give_back(std::uint16_t bid) noexcept;
  void wait_for_buffer(RecvLease& receive) noexcept;
  void schedule_wake() noexcept;
  void wake_waiting() noexcept;

  Ring* ring_;
  std::size_t buffer_bytes_;
  unsigned count_;
  std::uint16_t group_ = 0;
  unsigned leased_ = 0;
  unsigned receiving_ = 0;  // receives in the kernel that may take a buffer
  std::size_t waiting_ = 0;
  std::uint64_t exhausted_ = 0;
  ::io_uring_buf_ring* entries_ = nullptr;
  std::byte* memory_ = nullptr;
  std::size_t mapped_bytes_ = 0;
  bool registered_ = false;
  List<ListNode> queue_;
  Waker waker_{*this};
};

}  // namespace sallyport::iouring
