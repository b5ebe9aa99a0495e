#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <variant>

#include "iouring/block_pool.h"
#include "iouring/buffer_ring.h"

namespace sallyport::ktls {

/// Plaintext between one record layer and another: a list of spans, and the buffer, if any, that
/// they lie in, which returns to its pool when the chunk dies. Move-only. Must not outlive the
/// pools of its shard.
class Chunk {
 public:
  Chunk() noexcept = default;
  /// One span inside `lease` or `block`.
  Chunk(iouring::Lease lease, std::span<std::byte> bytes) noexcept;
  Chunk(iouring::Block block, std::span<std::byte> bytes) noexcept;
  /// Several spans inside `block`; the table of spans, too, lies inside `block`.
  Chunk(iouring::Block block, std::span<iovec> spans) noexcept;
  /// Bytes that the caller owns and keeps alive and unchanged until they are sent.
  static Chunk borrowed(std::span<const std::byte> bytes) noexcept;

  /// Moves the bytes of a lease into memory of the chunk's own, so that the buffer returns to its
  /// ring: buffers are few, and a blocked sender must not starve the receivers of the shard. Spans
  /// that lie elsewhere stay where they are.
  void give_back_lease();
  bool holds_lease() const noexcept {
    const auto* const lease = std::get_if<iouring::Lease>(&owner_);
    return lease != nullptr && *lease;
  }

  // Inline: a chunk is moved half a dozen times between receive and send. A moved-from chunk is
  // empty and holds no buffer.
  Chunk(Chunk&& other) noexcept
      : owner_(std::move(other.owner_)),
        single_(other.single_),
        table_(other.table_),
        count_(std::exchange(other.count_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  Chunk& operator=(Chunk&& other) noexcept {
    if (this == &other) return *this;
    owner_ = std::move(other.owner_);
    single_ = other.single_;
    table_ = other.table_;
    count_ = std::exchange(other.count_, 0);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  ~Chunk() = default;

  /// The spans in order. A sender may advance them as bytes go out.
  std::span<iovec> data() noexcept { return {table_ != nullptr ? table_ : &single_, count_}; }
  /// Bytes of plaintext, all spans together, as they were when the chunk was made.
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  std::variant<std::monostate, iouring::Lease, iouring::Block, std::unique_ptr<std::byte[]>> owner_;
  iovec single_{};
  iovec* table_ = nullptr;  ///< null: single_ is the only span
  std::uint32_t count_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace sallyport::ktls
