#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "metrics/metric_documents.h"
#include "metrics/table.h"

namespace sallyport::metrics {
namespace {

// What the help line has no room for: values of labels, and when there is nothing. Markdown.
struct Remark {
  MetricId id;
  std::string_view text;
};

constexpr std::array kRemarks{
    Remark{MetricId::kConnectionsClosed,
           "reason as in the [log](operate.md#reasons); the sum holds at every scrape."},
    Remark{
        MetricId::kTlsHandshakes,
        "result = `success` or the [word](operate.md#reasons) of a refusal; each started handshake "
        "ends in exactly one. resumed = `true`, `false`."},
    Remark{MetricId::kTlsNegotiated, "The only series that appear when they first count."},
    Remark{MetricId::kTlsKeyupdates, "direction = `receive`, `send`."},
    Remark{MetricId::kTlsLibrary, "[`--openssl-tuning`](operate.md#flags)."},
    Remark{MetricId::kRecordsConnections,
           "direction = `receive`, `send`; records = `kernel`, `userspace`."},
    Remark{MetricId::kKtlsFallback, "[Kernel TLS](operate.md#kernel-tls) has the reasons."},
    Remark{MetricId::kKtlsSupported, "Not there with `--records userspace`."},
    Remark{MetricId::kKtlsRekeySupported, "Not there with `--records userspace`."},
    Remark{MetricId::kReceivedBytes, "leg = `client`, `backend`."},
    Remark{MetricId::kSentBytes, "leg = `client`, `backend`."},
    Remark{MetricId::kConnectionsLingering, "[Why](operate.md#when-a-client-has-left)."},
    Remark{MetricId::kConnectionsKept,
           "cause = `expired`, `revoked`, `untrusted`, `not_authorized`, `route_gone`."},
    Remark{
        MetricId::kProxyHeaders,
        "direction = `receive`: result = `success`, `proxy_header_invalid`, `unexpected_message` "
        "(from another address than `--accept-proxy` has), `handshake_timeout`. direction = "
        "`send`: `success`, `failed` (the backend did not take it, which is a failed connect), "
        "`internal_error` (none could be made, and the connection ended)."},
    Remark{
        MetricId::kBackendUp,
        "It is ready, has a weight, is neither ejected nor down by its checks, and is not avoided "
        "because connects to it failed. Of a name with several addresses: one of them would."},
    Remark{MetricId::kBackendHealthy,
           "Nothing where its route has no [checks](discovery-and-policy.md#checks) either."},
    Remark{MetricId::kBackendChecks, "result = `success`, `failure`, `unknown`."},
    Remark{MetricId::kBackendEjections, "[Ejection](discovery-and-policy.md#ejection)."},
    Remark{MetricId::kBackendConnections, "Warm ones included."},
    Remark{MetricId::kBackendConnectFailures, "A silence is 250 ms long."},
    Remark{
        MetricId::kBackendTlsHandshakes,
        "result = `success`, or the [word](operate.md#reasons) for which a connection may be "
        "refused. Not counted: a handshake that was given up, since the backend was silent or the "
        "client left; and those of checks, which `backend_checks_total` has."},
    Remark{MetricId::kBackendTlsHandshakeDuration, "Of those with `success`."},
    Remark{MetricId::kWarmConnections,
           "[Warm connections](discovery-and-policy.md#warm-connections), of all shards."},
    Remark{MetricId::kWarmHits,
           "A hit is counted with the first byte of the answer, or at the end."},
    Remark{MetricId::kLimitReached,
           "limit = the flag (`max-connections-per-address`, `max-handshakes-per-address`) or the "
           "[key of the policy](discovery-and-policy.md#limits)."},
    Remark{MetricId::kCertificateNotBefore, "Of the same certificate as the next."},
    Remark{
        MetricId::kCertificateExpiry,
        "role = `server`: the earliest of each `--cert` file. role = `ca`: each trust anchor in "
        "use, by its file, or by `FILE: SUBJECT, serial SERIAL` where that holds several. One that "
        "had expired when it was loaded is warned of instead, unless no other is left; of a root "
        "and its renewal with the same key the later counts."},
    Remark{MetricId::kCrlThisUpdate, "Of the same list as the next."},
    Remark{MetricId::kCrlNextUpdate, "The earliest of each file."},
    Remark{MetricId::kPeerCertificateExpiry,
           "Of a whole chain but its anchor. Nothing without clients."},
    Remark{MetricId::kConfigReloads,
           "source = `credentials`, `policy`, `discovery`; result = `success`, `failure`."},
    Remark{MetricId::kLogLinesDropped,
           "cause = `slow_reader`, `broken_pipe`, `disk_full`, `other`."},
    Remark{MetricId::kLogLinesLeftOut,
           "cause = `log-probes`, `log-connections`, `log-sample`, for the flags of that name; "
           "`repeated`, for warnings that were held back."},
    Remark{MetricId::kConfigSourceCurrent, "0 also while a route in it is refused."},
    Remark{MetricId::kStateWrites, "result = `success`, `failure`. Not there without that flag."},
};

std::string_view type_word(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "";
}

std::string row(MetricId id) {
  const Metric& of = metric(id);
  std::string text =
      "| `" + std::string(of.name) + "` | " + std::string(type_word(of.type)) + " | ";
  std::string_view between;
  for (const std::string_view label : of.labels()) {
    text.append(between).append(label);
    between = ", ";
  }
  text.append(" | ").append(of.help);
  const auto remark = std::ranges::find(kRemarks, id, &Remark::id);
  if (remark != kRemarks.end()) text.append(" ").append(remark->text);
  return text + " |\n";
}

}  // namespace

std::string metric_reference() {
  std::string text =
      "<!-- Made by metrics/write_metric_documents of metrics/table.h and metric_reference.cc. "
      "-->\n"
      "# Metrics\n\n"
      "All metrics of `/metrics`, in the text format of Prometheus. [Operate](operate.md#metrics) "
      "says "
      "how long series stay, [alerts](operate.md#alerts) what to be woken for; "
      "[deploy/grafana](../deploy/grafana/sallyport.json) shows each of them.\n\n"
      "Labels come from enumerations and configured names only. `listener` is the text of "
      "`--listen` "
      "or `--egress`, `route` is empty until one is chosen, `backend` is the target as the "
      "discovery "
      "file writes it. Buckets of histograms end at 0.5, 1, 2.5, 5, 10, 20, 30, 40, 50, 75, 100, "
      "250 "
      "and 500 ms, and at 1, 2.5, 5 and 10 s.\n\n"
      "| metric | type | labels | meaning |\n|---|---|---|---|\n";
  for (std::size_t i = 0; i < kTable.size(); ++i) text += row(static_cast<MetricId>(i));
  return text;
}

}  // namespace sallyport::metrics
