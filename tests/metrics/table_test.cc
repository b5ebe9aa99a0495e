#include "metrics/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace sallyport::metrics {
namespace {

// The published list. Dashboards and alerts are written against it: change it only on purpose.
const std::map<std::string, std::vector<std::string>> kContract{
    {"connections", {"listener", "route"}},
    {"connections_accepted_total", {"listener"}},
    {"connections_closed_total", {"listener", "route", "reason"}},
    {"tls_handshakes_total", {"listener", "result", "resumed"}},
    {"tls_handshake_duration_seconds", {"listener", "resumed"}},
    {"tls_handshakes_in_flight", {}},
    {"tls_negotiated_total", {"version", "group", "cipher"}},
    {"tls_keyupdates_total", {"direction"}},
    {"ready", {}},
    {"tls_library", {"mode"}},
    {"records_connections", {"direction", "records"}},
    {"proxy_headers_total", {"direction", "result"}},
    {"ktls_fallback_total", {"reason"}},
    {"ktls_supported", {"version", "cipher"}},
    {"ktls_rekey_supported", {}},
    {"received_bytes_total", {"route", "leg"}},
    {"sent_bytes_total", {"route", "leg"}},
    {"connections_lingering", {"route"}},
    {"connections_kept", {"cause"}},
    {"generation", {}},
    {"live_rechecks_total", {}},
    {"live_recheck_duration_seconds", {}},
    {"live_recheck_longest_turn_seconds", {}},
    {"backend_up", {"route", "backend"}},
    {"backend_healthy", {"route", "backend"}},
    {"backend_checks_total", {"route", "backend", "result"}},
    {"backend_ejections_total", {"route", "backend"}},
    {"backend_connections", {"route", "backend"}},
    {"backend_connect_duration_seconds", {"route"}},
    {"backend_connect_failures_total", {"route", "backend"}},
    {"backend_failovers_total", {"route"}},
    {"backend_tls_handshakes_total", {"route", "result", "resumed"}},
    {"backend_tls_handshake_duration_seconds", {"route"}},
    {"warm_connections", {"route"}},
    {"warm_hits_total", {"route"}},
    {"warm_misses_total", {"route"}},
    {"limit_reached_total", {"route", "limit"}},
    {"certificate_not_before_timestamp_seconds", {"role", "name"}},
    {"certificate_expiry_timestamp_seconds", {"role", "name"}},
    {"crl_this_update_timestamp_seconds", {"name"}},
    {"crl_next_update_timestamp_seconds", {"name"}},
    {"peer_certificate_soonest_expiry_timestamp_seconds", {"route"}},
    {"config_reloads_total", {"source", "result"}},
    {"config_last_reload_success_timestamp_seconds", {"source"}},
    {"max_connections", {}},
    {"log_lines_dropped_total", {"cause"}},
    {"log_lines_left_out_total", {"cause"}},
    {"config_source_current", {"source"}},
    {"discovery_route_current", {"route"}},
    {"state_writes_total", {"result"}},
    {"shard_busy_seconds_total", {"shard"}},
    {"build_info", {"version", "openssl", "kernel", "liburing"}},
};

TEST(MetricTable, HoldsTheContractAndNothingElseOfOurs) {
  std::map<std::string, std::vector<std::string>> ours;
  for (const Metric& each : kTable) {
    constexpr std::string_view kPrefix = "sallyport_";
    if (!each.name.starts_with(kPrefix)) continue;
    const auto labels = each.labels();
    ours[std::string(each.name.substr(kPrefix.size()))] = {labels.begin(), labels.end()};
  }
  EXPECT_EQ(ours, kContract);
}

TEST(MetricTable, HasTheUsualProcessMetrics) {
  std::set<std::string_view> names;
  for (const Metric& each : kTable) names.insert(each.name);
  for (const std::string_view name :
       {"process_cpu_seconds_total", "process_open_fds", "process_max_fds",
        "process_virtual_memory_bytes", "process_resident_memory_bytes",
        "process_start_time_seconds", "process_threads"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(MetricTable, CallsCountersTotalAndTimesSeconds) {
  for (const Metric& each : kTable) {
    SCOPED_TRACE(each.name);
    EXPECT_EQ(each.name.ends_with("_total"), each.type == MetricType::kCounter);
    if (each.unit == "seconds") EXPECT_TRUE(each.name.find("_seconds") != std::string_view::npos);
    if (each.unit == "bytes") EXPECT_TRUE(each.name.find("_bytes") != std::string_view::npos);
    EXPECT_TRUE(each.help.ends_with("."));
  }
}

TEST(MetricTable, NamesEachMetricOnce) {
  std::set<std::string_view> names;
  for (const Metric& each : kTable) EXPECT_TRUE(names.insert(each.name).second) << each.name;
}

}  // namespace
}  // namespace sallyport::metrics
