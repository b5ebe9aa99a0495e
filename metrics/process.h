// The process' own figures, from /proc: the usual process_* metrics.
#pragma once

#include <cstdint>
#include <optional>

namespace sallyport::metrics {

/// What could not be read (no /proc, not permitted) is unset.
struct ProcessSample {
  std::optional<double> cpu_seconds;
  std::optional<double> start_time_seconds;  ///< since the epoch
  std::optional<std::uint64_t> threads;
  std::optional<std::uint64_t> virtual_bytes;
  std::optional<std::uint64_t> resident_bytes;
  std::optional<std::uint64_t> open_fds;
  std::optional<std::uint64_t> max_fds;  ///< soft limit; unset when unlimited
};

[[nodiscard]] ProcessSample sample_process();

}  // namespace sallyport::metrics
