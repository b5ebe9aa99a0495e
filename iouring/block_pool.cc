#include "iouring/block_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "iouring/invariant.h"
#include "iouring/sanitizers.h"

namespace sallyport::iouring {

BlockPool::BlockPool(std::size_t block_bytes) noexcept {
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
    unpoison(block, block_bytes_);
  } else {
    // Room to give it back without allocating: give_back() must not throw.
    idle_.reserve(live_ + 1);
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
  while (idle_bytes() > std::max(kIdleBytes, live_ * block_bytes_)) {
    std::byte* surplus = idle_.back();
    idle_.pop_back();
    unpoison(surplus, block_bytes_);
    ::munmap(surplus, block_bytes_);
  }
}

}  // namespace sallyport::iouring
