#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sallyport::ktls {

/// The eight bytes of `value`, the highest first, as numbers go over the wire.
constexpr std::array<std::byte, 8> big_endian(std::uint64_t value) noexcept {
  std::array<std::byte, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(value >> (56 - 8 * i));
  }
  return bytes;
}

/// The number that at most eight bytes are.
constexpr std::uint64_t from_big_endian(std::span<const std::byte> bytes) noexcept {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | std::to_integer<std::uint64_t>(byte);
  return value;
}

}  // namespace sallyport::ktls
