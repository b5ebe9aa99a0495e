#include "ktls/records/chunk.h"

#include <cstring>
#include <utility>

namespace sallyport::ktls {

Chunk::Chunk(iouring::Lease lease, std::span<std::byte> bytes) noexcept
    : owner_(std::move(lease)),
      single_{bytes.data(), bytes.size()},
      count_(1),
      size_(static_cast<std::uint32_t>(bytes.size())) {}

Chunk::Chunk(iouring::Block block, std::span<std::byte> bytes) noexcept
    : owner_(std::move(block)),
      single_{bytes.data(), bytes.size()},
      count_(1),
      size_(static_cast<std::uint32_t>(bytes.size())) {}

Chunk::Chunk(iouring::Block block, std::span<iovec> spans) noexcept
    : owner_(std::move(block)),
      table_(spans.data()),
      count_(static_cast<std::uint32_t>(spans.size())) {
  for (const iovec& span : spans) size_ += static_cast<std::uint32_t>(span.iov_len);
}

Chunk Chunk::borrowed(std::span<const std::byte> bytes) noexcept {
  Chunk chunk;
  // Senders only read what the spans point at.
  chunk.single_ = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  chunk.count_ = 1;
  chunk.size_ = static_cast<std::uint32_t>(bytes.size());
  return chunk;
}

void Chunk::give_back_lease() {
  if (!holds_lease()) return;
  auto memory = std::make_unique_for_overwrite<std::byte[]>(single_.iov_len);
  if (single_.iov_len != 0) std::memcpy(memory.get(), single_.iov_base, single_.iov_len);
  single_.iov_base = memory.get();
  owner_ = std::move(memory);
}

}  // namespace sallyport::ktls
