// The JSON object that a run prints.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "bench/load/histogram.h"

namespace sallyport::bench {

/// Members appear in the order in which they are added.
class JsonObject {
 public:
  void add(std::string_view key, std::string_view text);
  void add(std::string_view key, const char* text) { add(key, std::string_view(text)); }
  void add(std::string_view key, double number);
  void add(std::string_view key, uint64_t number);
  void add(std::string_view key, const JsonObject& object);
  void add(std::string_view key, const std::map<std::string, uint64_t>& counts);
  /// mean, p50, p90, p99, p999 and max in microseconds, and the count.
  void add(std::string_view key, const Histogram& latencies);
  void add_json(std::string_view key, std::string_view json);

  std::string text() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

inline double seconds(std::chrono::nanoseconds time) {
  return static_cast<double>(time.count()) / 1e9;
}
inline double microseconds(std::chrono::nanoseconds time) {
  return static_cast<double>(time.count()) / 1e3;
}

}  // namespace sallyport::bench
