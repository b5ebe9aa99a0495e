// Latencies in a log-linear histogram in the manner of HdrHistogram: 128 linear steps in each power
// of two, so a reported percentile is at most 0.8 % above the true one, at any scale.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace sallyport::bench {

class Histogram {
 public:
  Histogram();

  /// Negative durations count as zero.
  void record(std::chrono::nanoseconds latency);
  void clear();

  uint64_t count() const { return count_; }
  std::chrono::nanoseconds mean() const;
  std::chrono::nanoseconds max() const { return std::chrono::nanoseconds(max_ns_); }
  /// Upper end of the step that holds the value at `fraction` (0.99: the 99th percentile); zero
  /// when empty, never above max().
  std::chrono::nanoseconds at(double fraction) const;

 private:
  std::vector<uint64_t> steps_;
  uint64_t count_ = 0;
  uint64_t max_ns_ = 0;
  double sum_ns_ = 0;
};

}  // namespace sallyport::bench
