#pragma once
// Where coroutine frames live: in operator new's memory, counted.
#include <cstddef>
#include <new>

namespace sallyport::iouring {

/// Frames by thread: one that is freed on another thread than allocated it (the first task of a
/// shard is) is missing there and left over here, and the sums over both are right.
class FrameMemory {
 public:
  /// Never null; throws std::bad_alloc.
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    void* const memory = ::operator new(bytes);
    ++frames_;
    bytes_ += bytes;
    return memory;
  }
  static void deallocate(void* memory, std::size_t bytes) noexcept {
    --frames_;
    bytes_ -= bytes;
    ::operator delete(memory, bytes);
  }

  /// Allocated by this thread, less those that it freed. For tests.
  [[nodiscard]] static std::size_t live_frames() noexcept { return frames_; }
  /// The bytes of these frames, without the allocator's rounding.
  [[nodiscard]] static std::size_t live_bytes() noexcept { return bytes_; }

 private:
  static inline constinit thread_local std::size_t frames_ = 0;
  static inline constinit thread_local std::size_t bytes_ = 0;
};

}  // namespace sallyport::iouring
