// Every metric that Sallyport exposes: name, type, unit, labels and help, in one table.
//
// The names are a contract with dashboards and alerts. What is not in the table cannot be exposed:
// the registry takes name, type and label names from here and nowhere else.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace sallyport::metrics {

enum class MetricType { kCounter, kGauge, kHistogram };

/// One row of the table. `labels` are in the order in which the registry gives their values.
struct Metric {
  std::string_view name;
  MetricType type;
  std::string_view unit;  ///< "seconds", "bytes", "connections", ...; empty for an info metric
  std::array<std::string_view, 4> label_slots;
  std::string_view help;

  /// The label names, without the unused slots.
  [[nodiscard]] constexpr std::span<const std::string_view> labels() const {
    std::size_t used = 0;
    while (used < label_slots.size() && !label_slots[used].empty()) ++used;
    return std::span(label_slots).first(used);
  }
};

/// Index into kTable.
enum class MetricId : std::size_t {
  kConnections,
  kConnectionsAccepted,
  kConnectionsClosed,
  kTlsHandshakes,
  kTlsHandshakeDuration,
  kTlsHandshakesInFlight,
  kTlsNegotiated,
  kTlsKeyupdates,
  kTlsLibrary,
  kRecordsConnections,
  kKtlsFallback,
  kKtlsSupported,
  kKtlsRekeySupported,
  kReceivedBytes,
  kSentBytes,
  kBackendUp,
  kBackendConnectDuration,
  kCertificateExpiry,
  kCrlNextUpdate,
  kConfigReloads,
  kConfigLastReloadSuccess,
  kShardBusy,
  kBuildInfo,
  kProcessCpu,
  kProcessOpenFds,
  kProcessMaxFds,
  kProcessVirtualMemory,
  kProcessResidentMemory,
  kProcessStartTime,
  kProcessThreads,
  kCount,
};

inline constexpr std::array<Metric, static_cast<std::size_t>(MetricId::kCount)> kTable{{
    {"sallyport_connections",
     MetricType::kGauge,
     "connections",
     {"listener", "route"},
     "Open client connections; route is empty until one is chosen."},
    {"sallyport_connections_accepted_total",
     MetricType::kCounter,
     "connections",
     {"listener"},
     "Client connections accepted."},
    {"sallyport_connections_closed_total",
     MetricType::kCounter,
     "connections",
     {"listener", "route", "reason"},
     "Client connections that ended, by reason. Accepted = closed + open, per listener."},
    {"sallyport_tls_handshakes_total",
     MetricType::kCounter,
     "handshakes",
     {"listener", "result", "resumed"},
     "TLS handshakes that ended; success means authenticated, authorised and routed."},
    {"sallyport_tls_handshake_duration_seconds",
     MetricType::kHistogram,
     "seconds",
     {"listener", "resumed"},
     "Time from the first byte of the ClientHello to the verdict, our own queue included."},
    {"sallyport_tls_handshakes_in_flight",
     MetricType::kGauge,
     "handshakes",
     {},
     "TLS handshakes that have started and not ended."},
    {"sallyport_tls_negotiated_total",
     MetricType::kCounter,
     "handshakes",
     {"version", "group", "cipher"},
     "Successful TLS handshakes, by what was negotiated."},
    {"sallyport_tls_keyupdates_total",
     MetricType::kCounter,
     "messages",
     {"direction"},
     "TLS KeyUpdate messages, received from or sent to peers."},
    {"sallyport_tls_library",
     MetricType::kGauge,
     "",
     {"mode"},
     "Always 1; tuned if handshakes use OpenSSL beyond its public API, stock if not."},
    {"sallyport_records_connections",
     MetricType::kGauge,
     "connections",
     {"direction", "records"},
     "Open TLS connections, by what protects the records of the direction."},
    {"sallyport_ktls_fallback_total",
     MetricType::kCounter,
     "connections",
     {"reason"},
     "Connections that could not use kernel TLS and run on userspace records, by reason."},
    {"sallyport_ktls_supported",
     MetricType::kGauge,
     "",
     {"version", "cipher"},
     "1 if this kernel's TLS can protect both directions with it, 0 if not; tried at start."},
    {"sallyport_ktls_rekey_supported",
     MetricType::kGauge,
     "",
     {},
     "1 if this kernel's TLS can go on after a KeyUpdate, 0 if not; tried at start."},
    {"sallyport_received_bytes_total",
     MetricType::kCounter,
     "bytes",
     {"route", "leg"},
     "Application bytes received from clients or backends."},
    {"sallyport_sent_bytes_total",
     MetricType::kCounter,
     "bytes",
     {"route", "leg"},
     "Application bytes sent to clients or backends."},
    {"sallyport_backend_up",
     MetricType::kGauge,
     "",
     {"route", "backend"},
     "1 if the endpoint takes new connections, 0 if not."},
    {"sallyport_backend_connect_duration_seconds",
     MetricType::kHistogram,
     "seconds",
     {"route"},
     "Time to connect to a backend, further endpoints after a refusal included."},
    {"sallyport_certificate_expiry_timestamp_seconds",
     MetricType::kGauge,
     "seconds",
     {"role", "name"},
     "When a loaded certificate expires, in seconds since the epoch."},
    {"sallyport_crl_next_update_timestamp_seconds",
     MetricType::kGauge,
     "seconds",
     {"name"},
     "When a loaded CRL is due for replacement, in seconds since the epoch."},
    {"sallyport_config_reloads_total",
     MetricType::kCounter,
     "reloads",
     {"source", "result"},
     "Attempts to load a changed configuration source."},
    {"sallyport_config_last_reload_success_timestamp_seconds",
     MetricType::kGauge,
     "seconds",
     {"source"},
     "When a configuration source was last loaded with success, in seconds since the epoch."},
    {"sallyport_shard_busy_seconds_total",
     MetricType::kCounter,
     "seconds",
     {"shard"},
     "Time that the shard's event loop spent working rather than waiting, and the CPU time of "
     "its handshakes."},
    {"sallyport_build_info",
     MetricType::kGauge,
     "",
     {"version", "openssl", "kernel", "liburing"},
     "Always 1; the labels say what is running on what."},
    {"process_cpu_seconds_total",
     MetricType::kCounter,
     "seconds",
     {},
     "User and system CPU time of the process."},
    {"process_open_fds",
     MetricType::kGauge,
     "descriptors",
     {},
     "Open file descriptors; sockets in a ring's registered table are not among them."},
    {"process_max_fds",
     MetricType::kGauge,
     "descriptors",
     {},
     "Soft limit on open file descriptors."},
    {"process_virtual_memory_bytes",
     MetricType::kGauge,
     "bytes",
     {},
     "Virtual memory of the process."},
    {"process_resident_memory_bytes",
     MetricType::kGauge,
     "bytes",
     {},
     "Resident memory of the process."},
    {"process_start_time_seconds",
     MetricType::kGauge,
     "seconds",
     {},
     "When the process started, in seconds since the epoch."},
    {"process_threads", MetricType::kGauge, "threads", {}, "Threads of the process."},
}};

[[nodiscard]] constexpr const Metric& metric(MetricId id) {
  return kTable[static_cast<std::size_t>(id)];
}

}  // namespace sallyport::metrics
