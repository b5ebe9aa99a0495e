#pragma once
// The allocator of coroutine frames. Memory per idle connection matters most, so frames are packed
// by size into slabs, and a slab without live frames goes back to the kernel.
#include <cstddef>

namespace sallyport::iouring {

/// One pool per thread. A frame may be freed on another thread than allocated it (the first task of
/// a shard is); its memory then returns to the pool that it came from. Under AddressSanitizer and
/// ThreadSanitizer frames come from operator new instead, and only the counts are kept.
class FramePool {
 public:
  /// Never null; throws std::bad_alloc when the kernel refuses memory.
  [[nodiscard]] static void* allocate(std::size_t bytes);
  static void deallocate(void* memory, std::size_t bytes) noexcept;

  /// Frames of this thread's pool that are allocated.
  [[nodiscard]] static std::size_t live_frames() noexcept;
  /// The bytes of these frames, with rounding.
  [[nodiscard]] static std::size_t live_bytes() noexcept;
  /// Bytes mapped and not used by live frames: holes in slabs, and empty slabs kept for reuse.
  [[nodiscard]] static std::size_t idle_bytes() noexcept;

  /// Empty slabs kept for reuse never exceed this.
  static constexpr std::size_t kMaxEmptyBytes = 256 * 1024;
};

}  // namespace sallyport::iouring
