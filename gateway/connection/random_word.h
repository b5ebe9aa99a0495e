#pragma once

#include <cstdint>
#include <random>

namespace sallyport::gateway {

/// From the operating system: for seeds, not for keys.
[[nodiscard]] inline std::uint64_t random_word() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

}  // namespace sallyport::gateway
