#include "gateway/backends/lookup_times.h"

#include <algorithm>

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

constexpr double kSpread = 0.1;
constexpr unsigned kMostDoublings = 20;  // beyond any last_retry

milliseconds spread(milliseconds time, double chance) {
  return time + std::chrono::duration_cast<milliseconds>(time * kSpread * chance);
}

}  // namespace

milliseconds LookupTimes::after_answer(std::chrono::seconds ttl, double chance) const {
  if (ttl.count() <= 0) return spread(without_ttl, chance);
  return spread(std::clamp<milliseconds>(ttl, shortest, longest), chance);
}

milliseconds LookupTimes::after_failure(unsigned failures, double chance) const {
  const unsigned doublings = std::min(failures - 1, kMostDoublings);
  return spread(std::min(first_retry * (1 << doublings), last_retry), chance);
}

}  // namespace sallyport::gateway
