#include "bench/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sallyport::bench {
namespace {

constexpr unsigned kBits = 7;  // 128 steps in each power of two
constexpr uint64_t kSteps = uint64_t{1} << kBits;
constexpr size_t kPowers = 40;  // up to 2^46 ns, 19 hours

size_t step_of(uint64_t ns) {
  if (ns < kSteps) return ns;
  const auto shift = static_cast<unsigned>(std::bit_width(ns)) - kBits - 1;
  return shift * kSteps + (ns >> shift);
}

uint64_t highest_in(size_t step) {
  if (step < 2 * kSteps) return step;
  const auto shift = static_cast<unsigned>(step / kSteps - 1);
  return (((step % kSteps) + kSteps + 1) << shift) - 1;
}

}  // namespace

Histogram::Histogram() : steps_(kPowers * kSteps) {}

void Histogram::record(std::chrono::nanoseconds latency) {
  const auto ns = static_cast<uint64_t>(std::max<int64_t>(latency.count(), 0));
  ++steps_[std::min(step_of(ns), steps_.size() - 1)];
  ++count_;
  sum_ns_ += static_cast<double>(ns);
  max_ns_ = std::max(max_ns_, ns);
}

void Histogram::clear() {
  *this = Histogram();
}

std::chrono::nanoseconds Histogram::mean() const {
  return std::chrono::nanoseconds(
      count_ == 0 ? 0 : static_cast<int64_t>(sum_ns_ / static_cast<double>(count_)));
}

std::chrono::nanoseconds Histogram::at(double fraction) const {
  if (count_ == 0) return {};
  const auto wanted = std::max<uint64_t>(
      1, static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t step = 0; step < steps_.size(); ++step) {
    seen += steps_[step];
    if (seen >= wanted) return std::chrono::nanoseconds(std::min(highest_in(step), max_ns_));
  }
  return max();
}

}  // namespace sallyport::bench
