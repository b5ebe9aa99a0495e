// Samples in, Prometheus text out. Internal to metrics/; keeps prometheus-cpp behind its .cc.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "metrics/cells.h"
#include "metrics/table.h"

namespace sallyport::metrics {

/// Collects series, then writes the whole table: a metric without a series still has its HELP and
/// TYPE lines. Label values come in the order of the metric's labels; as many (aborts otherwise).
class TextFormat {
 public:
  TextFormat();
  ~TextFormat();
  TextFormat(const TextFormat&) = delete;
  TextFormat& operator=(const TextFormat&) = delete;

  void add(MetricId id, std::initializer_list<std::string_view> label_values, double value);
  void add(MetricId id, std::initializer_list<std::string_view> label_values,
           const HistogramSample& histogram);
  /// The sums over all shards.
  void shards(std::span<const ShardSample> samples, const Vocabulary& words);
  /// The process_* metrics.
  void process();

  /// Everything so far; there is nothing to add behind it.
  [[nodiscard]] std::string serialize();

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace sallyport::metrics
