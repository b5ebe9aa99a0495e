#include "iouring/frame_pool.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "iouring/invariant.h"
#include "iouring/sanitizers.h"

namespace sallyport::iouring {

namespace {

constexpr std::size_t kSlabBytes = 32 * 1024;
constexpr std::size_t kLargestPooled = 4096;
// Size classes: steps of 16 bytes up to 1 KiB, then of 256. All frames of one function have the
// same size, so that the slack is the rounding of that size.
constexpr std::size_t kFineStep = 16;
constexpr std::size_t kFineClasses = 1024 / kFineStep;
constexpr std::size_t kClasses = kFineClasses + (kLargestPooled - 1024) / 256;

constexpr std::size_t class_of(std::size_t bytes) noexcept {
  if (bytes <= 1024) return bytes == 0 ? 0 : (bytes - 1) / kFineStep;
  return kFineClasses + (bytes - 1025) / 256;
}
constexpr std::size_t class_bytes(std::size_t size_class) noexcept {
  if (size_class < kFineClasses) return (size_class + 1) * kFineStep;
  return 1024 + (size_class - kFineClasses + 1) * 256;
}
static_assert(class_bytes(class_of(1024)) == 1024 && class_bytes(class_of(1025)) == 1280);
static_assert(class_of(kLargestPooled) == kClasses - 1);

class Pool;

struct FreeFrame {
  FreeFrame* next;
};

// A slab holds frames of one size class. It is aligned to its size, so that the address of a frame,
// masked, is that of its slab.
struct Slab {
  Pool* owner;
  Slab* prev;
  Slab* next;
  FreeFrame* free;
  std::uint32_t live;
  std::uint32_t carved;  // bytes handed out at least once, with this header
  std::uint32_t size_class;
};
constexpr std::size_t kSlabHeader = 64;
static_assert(sizeof(Slab) <= kSlabHeader);

Slab* slab_of(void* frame) noexcept {
  return reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(frame) & ~(kSlabBytes - 1));
}

// The header of a frame that is not in a slab.
struct alignas(16) LargeHeader {
  Pool* owner;
  FreeFrame* unused;
};

Slab* map_slab() {
  void* mapped =
      ::mmap(nullptr, 2 * kSlabBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
  const std::uintptr_t aligned = (begin + kSlabBytes - 1) & ~(kSlabBytes - 1);
  if (aligned > begin) ::munmap(mapped, aligned - begin);
  const std::uintptr_t end = begin + 2 * kSlabBytes;
  if (end > aligned + kSlabBytes)
    ::munmap(reinterpret_cast<void*>(aligned + kSlabBytes), end - aligned - kSlabBytes);
  return reinterpret_cast<Slab*>(aligned);
}

class Pool {
 public:
  void* allocate(std::size_t bytes) {
    if (foreign_.load(std::memory_order_relaxed) != nullptr) take_foreign();
    if (kSanitized || bytes > kLargestPooled) return allocate_large(bytes);
    const std::size_t size_class = class_of(bytes);
    Slab* slab = partial_[size_class];
    if (slab == nullptr) slab = add_slab(size_class);
    const std::size_t size = class_bytes(size_class);
    void* frame = slab->free;
    if (frame != nullptr) {
      slab->free = slab->free->next;
    } else {
      frame = reinterpret_cast<std::byte*>(slab) + slab->carved;
      slab->carved += static_cast<std::uint32_t>(size);
    }
    ++slab->live;
    if (full(*slab)) remove_partial(*slab);
    ++frames_;
    bytes_ += size;
    return frame;
  }

  void deallocate(void* frame, std::size_t bytes) noexcept {
    Slab& slab = *slab_of(frame);
    invariant(slab.size_class == class_of(bytes), "a frame is freed with its own size",
              static_cast<long long>(bytes), static_cast<long long>(class_bytes(slab.size_class)));
    const bool was_full = full(slab);
    auto* free = static_cast<FreeFrame*>(frame);
    free->next = slab.free;
    slab.free = free;
    --slab.live;
    --frames_;
    bytes_ -= class_bytes(slab.size_class);
    if (was_full) add_partial(slab);
    if (slab.live == 0) retire(slab);
  }

  // Called from another thread: only queues the frame; the owner takes it back when it next
  // allocates or counts.
  void deallocate_foreign(void* frame) noexcept {
    auto* free = static_cast<FreeFrame*>(frame);
    free->next = foreign_.load(std::memory_order_relaxed);
    while (!foreign_.compare_exchange_weak(free->next, free, std::memory_order_release,
                                           std::memory_order_relaxed)) {
    }
  }

  void deallocate_large(LargeHeader* header, std::size_t bytes, bool foreign) noexcept {
    if (foreign) {
      foreign_large_frames_.fetch_add(1, std::memory_order_relaxed);
      foreign_large_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    } else {
      --frames_;
      bytes_ -= bytes;
      large_bytes_ -= bytes;
    }
    ::operator delete(header);
  }

  void take_foreign() noexcept {
    FreeFrame* frame = foreign_.exchange(nullptr, std::memory_order_acquire);
    while (frame != nullptr) {
      FreeFrame* next = frame->next;
      deallocate(frame, class_bytes(slab_of(frame)->size_class));
      frame = next;
    }
  }

  void unmap_empty() noexcept {
    while (empty_ != nullptr) {
      Slab* slab = empty_;
      empty_ = slab->next;
      unmap(slab);
    }
    empty_count_ = 0;
  }

  [[nodiscard]] std::size_t frames() const noexcept {
    return frames_ - foreign_large_frames_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return bytes_ - foreign_large_bytes_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t idle_bytes() const noexcept {
    return mapped_bytes_ - (bytes_ - large_bytes_);
  }

 private:
  static bool full(const Slab& slab) noexcept {
    return slab.free == nullptr && slab.carved + class_bytes(slab.size_class) > kSlabBytes;
  }

  void* allocate_large(std::size_t bytes) {
    auto* header = static_cast<LargeHeader*>(::operator new(sizeof(LargeHeader) + bytes));
    header->owner = this;
    ++frames_;
    bytes_ += bytes;
    large_bytes_ += bytes;
    return header + 1;
  }

  Slab* add_slab(std::size_t size_class) {
    Slab* slab = empty_;
    if (slab != nullptr) {
      empty_ = slab->next;
      --empty_count_;
    } else {
      slab = map_slab();
      mapped_bytes_ += kSlabBytes;
    }
    *slab = {.owner = this,
             .prev = nullptr,
             .next = nullptr,
             .free = nullptr,
             .live = 0,
             .carved = kSlabHeader,
             .size_class = static_cast<std::uint32_t>(size_class)};
    add_partial(*slab);
    return slab;
  }

  void add_partial(Slab& slab) noexcept {
    Slab*& head = partial_[slab.size_class];
    slab.prev = nullptr;
    slab.next = head;
    if (head != nullptr) head->prev = &slab;
    head = &slab;
  }

  void remove_partial(Slab& slab) noexcept {
    if (slab.prev != nullptr)
      slab.prev->next = slab.next;
    else
      partial_[slab.size_class] = slab.next;
    if (slab.next != nullptr) slab.next->prev = slab.prev;
  }

  void retire(Slab& slab) noexcept {
    remove_partial(slab);
    if ((empty_count_ + 1) * kSlabBytes <= FramePool::kMaxEmptyBytes) {
      slab.next = empty_;
      empty_ = &slab;
      ++empty_count_;
    } else {
      unmap(&slab);
    }
  }

  void unmap(Slab* slab) noexcept {
    ::munmap(slab, kSlabBytes);
    mapped_bytes_ -= kSlabBytes;
  }

  std::array<Slab*, kClasses> partial_{};
  Slab* empty_ = nullptr;
  std::size_t empty_count_ = 0;
  std::size_t frames_ = 0;
  std::size_t bytes_ = 0;
  std::size_t large_bytes_ = 0;
  std::size_t mapped_bytes_ = 0;
  std::atomic<FreeFrame*> foreign_ = nullptr;
  std::atomic<std::size_t> foreign_large_frames_ = 0;
  std::atomic<std::size_t> foreign_large_bytes_ = 0;
};

constinit thread_local Pool* this_pool = nullptr;

// Frees a thread's pool when the thread ends; a pool with frames that are still in use on another
// thread is kept for them.
struct PoolOwner {
  ~PoolOwner() {
    Pool* pool = std::exchange(this_pool, nullptr);
    if (pool == nullptr) return;
    pool->take_foreign();
    pool->unmap_empty();
    if (pool->frames() == 0) delete pool;
  }
};

Pool& pool() {
  if (this_pool == nullptr) [[unlikely]] {
    static thread_local PoolOwner owner;
    static_cast<void>(owner);
    this_pool = new Pool();
  }
  return *this_pool;
}

bool is_large(std::size_t bytes) noexcept {
  return kSanitized || bytes > kLargestPooled;
}

}  // namespace

void* FramePool::allocate(std::size_t bytes) {
  return pool().allocate(bytes);
}

void FramePool::deallocate(void* memory, std::size_t bytes) noexcept {
  if (is_large(bytes)) {
    LargeHeader* header = static_cast<LargeHeader*>(memory) - 1;
    header->owner->deallocate_large(header, bytes, header->owner != this_pool);
    return;
  }
  Pool* owner = slab_of(memory)->owner;
  if (owner == this_pool)
    owner->deallocate(memory, bytes);
  else
    owner->deallocate_foreign(memory);
}

std::size_t FramePool::live_frames() noexcept {
  pool().take_foreign();
  return pool().frames();
}

std::size_t FramePool::live_bytes() noexcept {
  pool().take_foreign();
  return pool().bytes();
}

std::size_t FramePool::idle_bytes() noexcept {
  pool().take_foreign();
  return pool().idle_bytes();
}

}  // namespace sallyport::iouring
