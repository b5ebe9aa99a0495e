#include "iouring/received_ahead.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sallyport::iouring {

void ReceivedAhead::add(std::span<const std::byte> received) {
  bytes.insert(bytes.end(), received.begin(), received.end());
}

int ReceivedAhead::take(std::span<std::byte> room) noexcept {
  if (taken == bytes.size()) return std::exchange(error, 0);
  const std::size_t size = std::min(room.size(), bytes.size() - taken);
  std::memcpy(room.data(), bytes.data() + taken, size);
  taken += size;
  return static_cast<int>(size);
}

}  // namespace sallyport::iouring
