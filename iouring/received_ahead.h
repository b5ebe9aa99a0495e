#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace sallyport::iouring {

/// What a socket brought while nobody waited for it (RecvStream): bytes, and what ended them.
struct ReceivedAhead {
  std::vector<std::byte> bytes;
  std::size_t taken = 0;
  int error = 0;      ///< negative errno, behind the bytes
  bool more = false;  ///< the socket had more to read behind all this

  [[nodiscard]] bool empty() const noexcept { return taken == bytes.size() && error == 0; }
  void add(std::span<const std::byte> received);
  /// Moves bytes into `room` and returns how many; the error, once, when there are none left.
  [[nodiscard]] int take(std::span<std::byte> room) noexcept;
};

}  // namespace sallyport::iouring
