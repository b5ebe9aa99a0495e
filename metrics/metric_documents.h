// What is made of the table of metrics for its readers, and kept in the tree: tests compare.
#pragma once

#include <string>

namespace sallyport::metrics {

/// docs/metrics.md: each metric with its type, labels and meaning.
[[nodiscard]] std::string metric_reference();

/// deploy/grafana/sallyport.json: a dashboard that has each metric, for Grafana 10 and later. Its
/// variables are `datasource`, `job` and `instance`.
[[nodiscard]] std::string metric_dashboard();

}  // namespace sallyport::metrics
