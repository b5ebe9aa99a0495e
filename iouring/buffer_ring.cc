#include "iouring/buffer_ring.h"

#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "iouring/recv_lease.h"
#include "iouring/sanitizers.h"

namespace sallyport::iouring {

std::span<std::byte> Lease::bytes() const noexcept {
  if (buffers_ == nullptr) return {};
  return buffers_->room(bid_).first(size_);
}

void Lease::release() noexcept {
  if (buffers_ == nullptr) return;
  size_ = 0;
  std::exchange(buffers_, nullptr)->give_back(bid_);
}

BufferRing::BufferRing(Ring& ring, std::size_t buffer_bytes, unsigned count) noexcept
    : ring_(&ring), buffer_bytes_(buffer_bytes), count_(count) {}

Result<std::unique_ptr<BufferRing>> BufferRing::create(Ring& ring, std::size_t buffer_bytes,
                                                       unsigned count) {
  if (buffer_bytes == 0 || buffer_bytes > (1U << 30) || !std::has_single_bit(count) ||
      count > 32768)
    return failure(EINVAL);
  std::unique_ptr<BufferRing> buffers(new BufferRing(ring, buffer_bytes, count));
  const Result<> done = buffers->set_up();
  if (!done) return failure(done.error().value);
  return buffers;
}

Result<> BufferRing::set_up() noexcept {
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t entries_bytes = (count_ * sizeof(struct io_uring_buf) + page - 1) / page * page;
  mapped_bytes_ = entries_bytes + count_ * buffer_bytes_;
  void* mapped =
      ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    mapped_bytes_ = 0;
    return failure(errno);
  }
  entries_ = static_cast<::io_uring_buf_ring*>(mapped);
  memory_ = static_cast<std::byte*>(mapped) + entries_bytes;
  poison(memory_, count_ * buffer_bytes_);

  io_uring_buf_ring_init(entries_);
  const std::uint16_t group = ring_->next_buffer_group();
  struct io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(entries_);
  registration.ring_entries = count_;
  registration.bgid = group;
  const int registered = io_uring_register_buf_ring(&ring_->raw(), &registration, 0);
  if (registered < 0) return failure(registered);
  group_ = group;
  registered_ = true;
  for (unsigned bid = 0; bid < count_; ++bid) provide(static_cast<std::uint16_t>(bid));
  return {};
}

BufferRing::~BufferRing() {
  invariant(leased_ == 0, "a buffer ring outlives its leases", leased_);
  invariant(receiving_ == 0, "a buffer ring outlives its receives", receiving_);
  invariant(waiting_ == 0, "a buffer ring outlives its receives", static_cast<long long>(waiting_));
  if (registered_) io_uring_unregister_buf_ring(&ring_->raw(), group_);
  if (mapped_bytes_ == 0) return;
  unpoison(memory_, count_ * buffer_bytes_);
  ::munmap(entries_, mapped_bytes_);
}

void BufferRing::provide(std::uint16_t bid) noexcept {
  std::byte* const buffer = room(bid).data();
  poison(buffer, buffer_bytes_);
  io_uring_buf_ring_add(entries_, buffer, static_cast<unsigned>(buffer_bytes_), bid,
                        io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(entries_, 1);
}

Lease BufferRing::lease(std::uint16_t bid, std::uint32_t size) noexcept {
  invariant(bid < count_, "the kernel picks a buffer of this ring", bid, count_);
  ++leased_;
  unpoison(room(bid).data(), buffer_bytes_);
  return {*this, bid, size};
}

void BufferRing::give_back(std::uint16_t bid) noexcept {
  --leased_;
  provide(bid);
  if (waiting_ > 0) schedule_wake();
}

void BufferRing::wait_for_buffer(RecvLease& receive) noexcept {
  ++exhausted_;
  ++waiting_;
  queue_.push_back(receive.in_queue_);
  // A buffer may be free by now: the batch of completions that took the last one may also have
  // ended a lease.
  if (leased_ < count_) schedule_wake();
}

void BufferRing::schedule_wake() noexcept {
  if (!waker_.linked()) ring_->make_ready(waker_);
}

// A receive that is woken takes a buffer, or finds its socket empty and polls, or finds no buffer
// and queues again. The second case is not reported, so this runs in each loop iteration until no
// receive waits or no buffer is free; each iteration gets nearer to one of these.
void BufferRing::wake_waiting() noexcept {
  if (leased_ == count_) return;
  std::size_t wakes = std::min(waiting_, std::max<std::size_t>(count_ - leased_, 16));
  for (; wakes > 0; --wakes) {
    --waiting_;
    static_cast<RecvLease::InQueue&>(queue_.pop_front()).receive->buffer_may_be_free();
  }
  if (waiting_ > 0) schedule_wake();
}

}  // namespace sallyport::iouring
