#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/metric_documents.h"
#include "metrics/table.h"

namespace sallyport::metrics {
namespace {

using Json = nlohmann::ordered_json;

// What is drawn of a metric. Counters are rates and histograms quantiles, whatever is chosen.
enum class Shown {
  kSum,
  kLeast,
  kMost,
  kCount,  // of series whose value is always 1
  kTimeUntil,
  kTimeSince,
};

struct Panel {
  std::string_view title;
  MetricId id;
  Shown shown = Shown::kSum;
  std::array<std::string_view, 4> by = {};  // one curve for each value of these labels
};

struct Row {
  std::string_view title;
  std::span<const Panel> panels;
};

constexpr std::array kState{
    Panel{"Ready", MetricId::kReady, Shown::kLeast, {"instance"}},
    Panel{"Started", MetricId::kProcessStartTime, Shown::kTimeSince, {"instance"}},
    Panel{"Versions",
          MetricId::kBuildInfo,
          Shown::kCount,
          {"version", "openssl", "kernel", "liburing"}},
    Panel{"Newest content in force", MetricId::kConfigSourceCurrent, Shown::kLeast, {"source"}},
    Panel{"Newest endpoints in force", MetricId::kDiscoveryRouteCurrent, Shown::kLeast, {"route"}},
    Panel{"Reloads", MetricId::kConfigReloads, Shown::kSum, {"source", "result"}},
    Panel{"Since the last good load",
          MetricId::kConfigLastReloadSuccess,
          Shown::kTimeSince,
          {"source"}},
    Panel{"Generation", MetricId::kGeneration, Shown::kMost, {"instance"}},
    Panel{"Writes of state", MetricId::kStateWrites, Shown::kSum, {"result"}},
    Panel{"Log lines dropped", MetricId::kLogLinesDropped, Shown::kSum, {"cause"}},
    Panel{"Log lines left out", MetricId::kLogLinesLeftOut, Shown::kSum, {"cause"}},
};

constexpr std::array kClients{
    Panel{"Connections", MetricId::kConnections, Shown::kSum, {"listener", "route"}},
    Panel{"Most connections", MetricId::kMaxConnections, Shown::kSum, {"instance"}},
    Panel{"Connections accepted", MetricId::kConnectionsAccepted, Shown::kSum, {"listener"}},
    Panel{"Connections ended", MetricId::kConnectionsClosed, Shown::kSum, {"reason"}},
    Panel{"Bytes received", MetricId::kReceivedBytes, Shown::kSum, {"route", "leg"}},
    Panel{"Bytes sent", MetricId::kSentBytes, Shown::kSum, {"route", "leg"}},
    Panel{"Limits reached", MetricId::kLimitReached, Shown::kSum, {"route", "limit"}},
    Panel{"Client gone, backend not", MetricId::kConnectionsLingering, Shown::kSum, {"route"}},
    Panel{"PROXY headers", MetricId::kProxyHeaders, Shown::kSum, {"direction", "result"}},
};

constexpr std::array kHandshakes{
    Panel{"Handshakes", MetricId::kTlsHandshakes, Shown::kSum, {"result", "resumed"}},
    Panel{"Time of handshakes", MetricId::kTlsHandshakeDuration},
    Panel{"Handshakes in flight", MetricId::kTlsHandshakesInFlight, Shown::kSum, {"instance"}},
    Panel{"Negotiated", MetricId::kTlsNegotiated, Shown::kSum, {"version", "group", "cipher"}},
    Panel{"OpenSSL", MetricId::kTlsLibrary, Shown::kCount, {"mode"}},
};

constexpr std::array kBackends{
    Panel{"Endpoints up", MetricId::kBackendUp, Shown::kSum, {"route"}},
    Panel{"Endpoints healthy", MetricId::kBackendHealthy, Shown::kSum, {"route"}},
    Panel{"Connections to endpoints", MetricId::kBackendConnections, Shown::kSum, {"route"}},
    Panel{"Time to connect", MetricId::kBackendConnectDuration},
    Panel{"Failed connects", MetricId::kBackendConnectFailures, Shown::kSum, {"route"}},
    Panel{"Next endpoint tried", MetricId::kBackendFailovers, Shown::kSum, {"route"}},
    Panel{"Ejections", MetricId::kBackendEjections, Shown::kSum, {"route"}},
    Panel{"Checks", MetricId::kBackendChecks, Shown::kSum, {"route", "result"}},
    Panel{"Handshakes with backends",
          MetricId::kBackendTlsHandshakes,
          Shown::kSum,
          {"route", "result", "resumed"}},
    Panel{"Time of handshakes with backends", MetricId::kBackendTlsHandshakeDuration},
    Panel{"Warm connections", MetricId::kWarmConnections, Shown::kSum, {"route"}},
    Panel{"Warm connection taken", MetricId::kWarmHits, Shown::kSum, {"route"}},
    Panel{"No warm connection", MetricId::kWarmMisses, Shown::kSum, {"route"}},
};

constexpr std::array kTrust{
    Panel{"Certificates expire", MetricId::kCertificateExpiry, Shown::kTimeUntil, {"role", "name"}},
    Panel{"Age of certificates",
          MetricId::kCertificateNotBefore,
          Shown::kTimeSince,
          {"role", "name"}},
    Panel{"First client expires", MetricId::kPeerCertificateExpiry, Shown::kTimeUntil, {"route"}},
    Panel{"CRLs lapse", MetricId::kCrlNextUpdate, Shown::kTimeUntil, {"name"}},
    Panel{"Age of CRLs", MetricId::kCrlThisUpdate, Shown::kTimeSince, {"name"}},
    Panel{"Connections judged again", MetricId::kLiveRechecks, Shown::kSum, {"instance"}},
    Panel{"Time of that", MetricId::kLiveRecheckDuration, Shown::kMost, {"instance"}},
    Panel{"Longest turn of that", MetricId::kLiveRecheckLongestTurn, Shown::kMost, {"instance"}},
    Panel{"Connections kept", MetricId::kConnectionsKept, Shown::kSum, {"cause"}},
};

constexpr std::array kRecordLayer{
    Panel{"Records", MetricId::kRecordsConnections, Shown::kSum, {"direction", "records"}},
    Panel{"Back to userspace", MetricId::kKtlsFallback, Shown::kSum, {"reason"}},
    Panel{"KeyUpdates", MetricId::kTlsKeyupdates, Shown::kSum, {"direction"}},
    Panel{"Kernel TLS can", MetricId::kKtlsSupported, Shown::kLeast, {"version", "cipher"}},
    Panel{"Kernel TLS follows a KeyUpdate", MetricId::kKtlsRekeySupported, Shown::kLeast},
};

constexpr std::array kProcess{
    Panel{"Shards, of a core", MetricId::kShardBusy, Shown::kSum, {"instance", "shard"}},
    Panel{"Process, of a core", MetricId::kProcessCpu, Shown::kSum, {"instance"}},
    Panel{"Threads", MetricId::kProcessThreads, Shown::kSum, {"instance"}},
    Panel{"Resident memory", MetricId::kProcessResidentMemory, Shown::kSum, {"instance"}},
    Panel{"Virtual memory", MetricId::kProcessVirtualMemory, Shown::kSum, {"instance"}},
    Panel{"Descriptors", MetricId::kProcessOpenFds, Shown::kSum, {"instance"}},
    Panel{"Most descriptors", MetricId::kProcessMaxFds, Shown::kSum, {"instance"}},
};

constexpr std::array kRows{Row{"State", kState},
                           Row{"Clients", kClients},
                           Row{"Handshakes", kHandshakes},
                           Row{"Backends", kBackends},
                           Row{"Certificates and trust", kTrust},
                           Row{"Records", kRecordLayer},
                           Row{"Process", kProcess}};

constexpr std::array<std::string_view, 3> kQuantiles{"0.5", "0.95", "0.99"};
constexpr int kColumns = 24, kPanelWidth = 8, kPanelHeight = 7;

std::string aggregated(std::string_view function, const Panel& panel, const std::string& of) {
  std::string labels;
  for (const std::string_view label : panel.by) {
    if (label.empty()) break;
    labels.append(labels.empty() ? "" : ", ").append(label);
  }
  return std::string(function) + (labels.empty() ? " (" : " by (" + labels + ") (") + of + ")";
}

std::string selected(const Panel& panel, std::string_view suffix = "") {
  return std::string(metric(panel.id).name) + std::string(suffix) +
         R"({job=~"$job", instance=~"$instance"})";
}

std::string rate(const std::string& series) {
  return "rate(" + series + "[$__rate_interval])";
}

std::string gauge(const Panel& panel) {
  switch (panel.shown) {
    case Shown::kSum:
      return aggregated("sum", panel, selected(panel));
    case Shown::kLeast:
      return aggregated("min", panel, selected(panel));
    case Shown::kMost:
      return aggregated("max", panel, selected(panel));
    case Shown::kCount:
      return aggregated("count", panel, selected(panel));
    case Shown::kTimeUntil:
      return aggregated("min", panel, selected(panel)) + " - time()";
    case Shown::kTimeSince:
      return "time() - " + aggregated("min", panel, selected(panel));
  }
  return {};
}

std::string legend(const Panel& panel) {
  std::string text;
  for (const std::string_view label : panel.by) {
    if (!label.empty()) text.append(text.empty() ? "{{" : " {{").append(label).append("}}");
  }
  return text.empty() ? "all" : text;
}

Json target(const std::string& expression, const std::string& legend, std::size_t place) {
  return {{"refId", std::string(1, static_cast<char>('A' + place))},
          {"expr", expression},
          {"legendFormat", legend}};
}

Json targets(const Panel& panel) {
  Json all = Json::array();
  switch (metric(panel.id).type) {
    case MetricType::kCounter:
      all.push_back(target(aggregated("sum", panel, rate(selected(panel))), legend(panel), 0));
      break;
    case MetricType::kGauge:
      all.push_back(target(gauge(panel), legend(panel), 0));
      break;
    case MetricType::kHistogram:
      for (std::size_t i = 0; i < kQuantiles.size(); ++i) {
        const std::string quantile(kQuantiles[i]);
        all.push_back(target("histogram_quantile(" + quantile + ", sum by (le) (" +
                                 rate(selected(panel, "_bucket")) + "))",
                             quantile, i));
      }
      break;
  }
  return all;
}

// In Grafana's words.
std::string_view unit(const Metric& of) {
  const bool rate = of.type == MetricType::kCounter;
  if (of.unit == "seconds") return rate ? "percentunit" : "s";
  if (of.unit == "bytes") return rate ? "Bps" : "bytes";
  return rate ? "cps" : "short";
}

Json datasource() {
  return {{"type", "prometheus"}, {"uid", "${datasource}"}};
}

Json drawn(const Panel& panel, int id, int column, int line) {
  const Metric& of = metric(panel.id);
  return {{"id", id},
          {"type", "timeseries"},
          {"title", panel.title},
          {"description", std::string(of.name) + ": " + std::string(of.help)},
          {"datasource", datasource()},
          {"gridPos", {{"h", kPanelHeight}, {"w", kPanelWidth}, {"x", column}, {"y", line}}},
          {"fieldConfig",
           {{"defaults", {{"unit", unit(of)}, {"custom", {{"fillOpacity", 10}}}}},
            {"overrides", Json::array()}}},
          {"options",
           {{"legend", {{"displayMode", "list"}, {"placement", "bottom"}, {"showLegend", true}}},
            {"tooltip", {{"mode", "multi"}, {"sort", "desc"}}}}},
          {"targets", targets(panel)}};
}

Json panels() {
  Json all = Json::array();
  int id = 0;
  int line = 0;
  for (const Row& row : kRows) {
    all.push_back({{"id", ++id},
                   {"type", "row"},
                   {"title", row.title},
                   {"collapsed", false},
                   {"gridPos", {{"h", 1}, {"w", kColumns}, {"x", 0}, {"y", line++}}},
                   {"panels", Json::array()}});
    int column = 0;
    for (const Panel& panel : row.panels) {
      if (column == kColumns) {
        column = 0;
        line += kPanelHeight;
      }
      all.push_back(drawn(panel, ++id, column, line));
      column += kPanelWidth;
    }
    line += kPanelHeight;
  }
  return all;
}

Json choice_of_label(std::string_view label, std::string_view among) {
  const std::string query =
      "label_values(sallyport_build_info" + std::string(among) + ", " + std::string(label) + ")";
  return {{"name", label},
          {"type", "query"},
          {"datasource", datasource()},
          {"query", query},
          {"refresh", 2},
          {"multi", true},
          {"includeAll", true},
          {"allValue", ".*"},
          {"current", {{"text", "All"}, {"value", "$__all"}}}};
}

}  // namespace

std::string metric_dashboard() {
  const Json dashboard{
      {"uid", "sallyport"},
      {"title", "Sallyport"},
      {"description", "Made by metrics/write_metric_documents of metrics/table.h."},
      {"tags", {"sallyport"}},
      {"schemaVersion", 38},
      {"editable", true},
      {"graphTooltip", 1},
      {"refresh", "30s"},
      {"time", {{"from", "now-3h"}, {"to", "now"}}},
      {"templating",
       {{"list",
         {{{"name", "datasource"}, {"type", "datasource"}, {"query", "prometheus"}},
          choice_of_label("job", ""),
          choice_of_label("instance", R"({job=~"$job"})")}}}},
      {"panels", panels()}};
  return dashboard.dump(1) + "\n";
}

}  // namespace sallyport::metrics
