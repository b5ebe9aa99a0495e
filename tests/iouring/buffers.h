#pragma once
// Provided buffers, for tests that cannot go on without.
#include <cstdlib>
#include <memory>
#include <utility>

#include "iouring/buffer_ring.h"

namespace sallyport::iouring {

inline std::unique_ptr<BufferRing> make_buffers(Ring& ring, std::size_t bytes, unsigned count) {
  Result<std::unique_ptr<BufferRing>> buffers = BufferRing::create(ring, bytes, count);
  if (!buffers) std::abort();
  return std::move(*buffers);
}

}  // namespace sallyport::iouring
