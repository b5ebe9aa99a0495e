#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace sallyport::ktls::testing {

/// Threads of this process, those of the ring among them.
inline std::size_t threads() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// Open descriptors, without the one that looks.
inline std::size_t descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all))) - 1;
}

}  // namespace sallyport::ktls::testing
