#include "iouring/block_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "iouring/invariant.h"
#include "iouring/sanitizers.h"

namespace sallyport::iouring {

BlockPool::BlockPool(TimerWheel& wheel, std::size_t block_bytes) noexcept : wheel_(&wheel) {
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  block_bytes_ = (std::max<std::size_t>(block_bytes, 1) + page - 1) / page * page;
}

BlockPool::~BlockPool() {
  invariant(live_ == 0, "a block pool outlives its blocks", static_cast<long long>(live_));
  for (std::byte* block : idle_) {
    unpoison(block, block_bytes_);
    ::munmap(block, block_bytes_);
  }
}

Block BlockPool::acquire() {
  std::byte* block = nullptr;
  if (!idle_.empty()) {
    block = idle_.back();
    idle_.pop_back();
    least_idle_ = std::min(least_idle_, idle_.size());
    unpoison(block, block_bytes_);
  } else {
    // Room for give_back(), which must not throw.
    idle_.reserve(live_ + 1);
    least_idle_ = 0;
    void* mapped =
        ::mmap(nullptr, block_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    block = static_cast<std::byte*>(mapped);
  }
  ++live_;
  return {*this, block};
}

void BlockPool::give_back(std::byte* memory) noexcept {
  --live_;
  idle_.push_back(memory);
  poison(memory, block_bytes_);
  if (surplus() == 0 || armed()) return;
  least_idle_ = idle_.size();
  arm();
}

// Idle blocks beyond those that are kept in any case.
std::size_t BlockPool::surplus() const noexcept {
  const std::size_t kept = std::max(kIdleBytes / block_bytes_, live_);
  return idle_.size() > kept ? idle_.size() - kept : 0;
}

void BlockPool::arm() noexcept {
  wheel_->arm(*this, std::chrono::steady_clock::now() + kKeepFor);
}

void BlockPool::on_expiry() noexcept {
  unmap(std::min(surplus(), least_idle_));
  least_idle_ = idle_.size();
  if (surplus() > 0) arm();
}

void BlockPool::unmap(std::size_t surplus) noexcept {
  for (; surplus > 0; --surplus) {
    std::byte* block = idle_.back();
    idle_.pop_back();
    unpoison(block, block_bytes_);
    ::munmap(block, block_bytes_);
  }
}

}  // namespace sallyport::iouring
