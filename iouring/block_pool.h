#pragma once
// Large blocks of memory for connections that are busy; an idle connection holds none.
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "iouring/timer_wheel.h"

namespace sallyport::iouring {

class BlockPool;

/// Ownership of one block, which goes back to its pool when destroyed. Must not outlive the pool.
/// 16 bytes.
class [[nodiscard]] Block {
 public:
  Block() noexcept = default;
  Block(Block&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)),
        memory_(std::exchange(other.memory_, nullptr)) {}
  Block& operator=(Block&& other) noexcept {
    if (this != &other) {
      release();
      pool_ = std::exchange(other.pool_, nullptr);
      memory_ = std::exchange(other.memory_, nullptr);
    }
    return *this;
  }
  ~Block() { release(); }

  [[nodiscard]] explicit operator bool() const noexcept { return memory_ != nullptr; }
  [[nodiscard]] std::byte* data() const noexcept { return memory_; }
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {memory_, size()}; }
  void release() noexcept;

 private:
  friend class BlockPool;
  Block(BlockPool& pool, std::byte* memory) noexcept : pool_(&pool), memory_(memory) {}

  BlockPool* pool_ = nullptr;
  std::byte* memory_ = nullptr;
};

/// Page-aligned blocks of one size, mapped on demand. Blocks not in use stay mapped up to
/// kIdleBytes, or as many as are in use, whichever is more. The others stay too, until a period of
/// kKeepFor has passed in which they were not needed: one loop iteration takes a block for each of
/// its connections and the next gives all of them back, so that each chunk would otherwise map and
/// unmap one (measured: a sixth of the CPU time of small requests). One thread. Aborts when
/// destroyed with blocks in use.
class BlockPool final : private Timer {
 public:
  /// Room for sixteen full records of plaintext and a few pages; sealed records need less.
  static constexpr std::size_t kDefaultBytes = 260 * 1024;
  static constexpr std::size_t kIdleBytes = 128 * 1024;
  static constexpr std::chrono::milliseconds kKeepFor{500};

  /// `wheel` outlives the pool. `block_bytes` is rounded up to whole pages.
  explicit BlockPool(TimerWheel& wheel, std::size_t block_bytes = kDefaultBytes) noexcept;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  /// Contents are undefined. Throws std::bad_alloc when the kernel refuses memory.
  [[nodiscard]] Block acquire();

  [[nodiscard]] std::size_t block_bytes() const noexcept { return block_bytes_; }
  [[nodiscard]] std::size_t live_blocks() const noexcept { return live_; }
  [[nodiscard]] std::size_t idle_bytes() const noexcept { return idle_.size() * block_bytes_; }

 private:
  friend class Block;
  void give_back(std::byte* memory) noexcept;
  void on_expiry() noexcept override;
  void arm() noexcept;
  void unmap(std::size_t surplus) noexcept;
  [[nodiscard]] std::size_t surplus() const noexcept;

  TimerWheel* wheel_;
  std::size_t block_bytes_;
  std::size_t live_ = 0;
  std::vector<std::byte*> idle_;
  std::size_t least_idle_ = 0;  ///< fewest blocks in idle_ during this period: not needed in it
};

inline std::size_t Block::size() const noexcept {
  return pool_ ? pool_->block_bytes() : 0;
}
inline void Block::release() noexcept {
  if (memory_) std::exchange(pool_, nullptr)->give_back(std::exchange(memory_, nullptr));
}

}  // namespace sallyport::iouring
