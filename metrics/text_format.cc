#include "metrics/text_format.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <tuple>
#include <utility>
#include <vector>

#include "metrics/process.h"
#include "metrics/utf8.h"

namespace sallyport::metrics {
namespace {

constexpr std::array<std::string_view, 2> kLegs{"client", "backend"};
constexpr std::array<std::string_view, 2> kDirections{"receive", "send"};
constexpr std::array<std::string_view, 2> kRecords{"kernel", "userspace"};
constexpr std::array<std::string_view, 2> kBooleans{"false", "true"};

prometheus::MetricType prometheus_type(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  std::abort();
}

// What counts per route, whichever listener the connections came by.
struct RouteSum {
  std::array<std::uint64_t, 2> received{};
  std::array<std::uint64_t, 2> sent{};
  std::uint64_t lingering = 0;
  HistogramSample connect;
  std::uint64_t warm = 0;
  std::uint64_t warm_hits = 0, warm_misses = 0;
  std::uint64_t failovers = 0;
  std::array<std::uint64_t, kLimitWords.size()> limits_reached{};
  BackendTlsCounts backend_tls{};
  HistogramSample backend_tls_took;
};

void add_to(std::vector<std::uint64_t>& sums, const std::vector<std::uint64_t>& values) {
  if (sums.size() < values.size()) sums.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

struct ListenerSum {
  ListenerSample total;  // but for the routes
  std::map<std::string, std::pair<std::uint64_t, std::vector<std::uint64_t>>> routes;
};

void add_to(ListenerSum& sum, const ListenerSample& sample) {
  sum.total.accepted += sample.accepted;
  sum.total.handshakes_in_flight += sample.handshakes_in_flight;
  sum.total.handshakes.resize(sample.handshakes.size());
  for (const std::size_t resumed : {0U, 1U}) {
    for (std::size_t i = 0; i < sample.handshakes.size(); ++i) {
      sum.total.handshakes[i][resumed] += sample.handshakes[i][resumed];
    }
    sum.total.durations[resumed] += sample.durations[resumed];
  }
  for (const RouteSample& route : sample.routes) {
    auto& [open, closed] = sum.routes[route.route];
    open += route.open;
    add_to(closed, route.closed);
  }
}

}  // namespace

// A series of prometheus-cpp's takes ten times the room of its text, and there are hundreds of
// thousands: each family becomes text as it grows.
struct TextFormat::Families {
  static constexpr std::size_t kMostSeries = 1000;

  struct Family {
    std::vector<prometheus::MetricFamily> batch;  // one, with the series that are no text yet
    std::string text;

    void write() {
      std::ostringstream out;
      prometheus::TextSerializer().Serialize(out, batch);
      std::string lines = std::move(out).str();
      // HELP and TYPE are there already.
      if (!text.empty()) lines.erase(0, lines.find('\n', lines.find('\n') + 1) + 1);
      text += lines;
      batch.front().metric.clear();
    }
  };
  std::vector<Family> all;

  prometheus::ClientMetric& series(MetricId id, std::initializer_list<std::string_view> values) {
    const auto names = metric(id).labels();
    if (names.size() != values.size()) {
      const std::string name(metric(id).name);
      std::fprintf(stderr, "metrics: %s has %zu labels, got %zu\n", name.c_str(), names.size(),
                   values.size());
      std::abort();
    }
    Family& family = all[static_cast<std::size_t>(id)];
    if (family.batch.front().metric.size() == kMostSeries) family.write();
    auto& made = family.batch.front().metric.emplace_back();
    made.label.reserve(names.size());
    const std::string_view* value = values.begin();
    for (const std::string_view name : names) {
      made.label.push_back({std::string(name), valid_utf8(*value++)});
    }
    return made;
  }
};

TextFormat::TextFormat() : families_(std::make_unique<Families>()) {
  families_->all.reserve(kTable.size());
  for (const Metric& each : kTable) {
    auto& family = families_->all.emplace_back().batch.emplace_back();
    family.name = each.name;
    family.help = each.help;
    family.type = prometheus_type(each.type);
  }
}

TextFormat::~TextFormat() = default;

void TextFormat::add(MetricId id, std::initializer_list<std::string_view> label_values,
                     double value) {
  auto& series = families_->series(id, label_values);
  if (metric(id).type == MetricType::kCounter) {
    series.counter.value = value;
  } else {
    series.gauge.value = value;
  }
}

void TextFormat::add(MetricId id, std::initializer_list<std::string_view> label_values,
                     const HistogramSample& histogram) {
  auto& target = families_->series(id, label_values).histogram;
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
    so_far += histogram.counts[i];
    const double bound =
        i < kBucketSeconds.size() ? kBucketSeconds[i] : std::numeric_limits<double>::infinity();
    target.bucket.push_back({so_far, bound});
  }
  target.sample_count = so_far;
  target.sample_sum = histogram.sum_seconds;
}

void TextFormat::shards(std::span<const ShardSample> samples, const Vocabulary& words) {
  std::map<std::string, ListenerSum> listeners;
  std::map<std::string, RouteSum> routes;
  std::map<std::tuple<std::string, std::string, std::string>, std::uint64_t> negotiated;
  std::array<std::uint64_t, 2> keyupdates{};
  std::array<std::array<std::uint64_t, 2>, 2> records{};
  std::map<std::string, std::chrono::sys_seconds> peer_expiries;
  std::vector<std::uint64_t> fallback(words.fallback_reasons.size());
  std::vector<std::uint64_t> kept(words.live_causes.size());
  std::vector<std::uint64_t> proxy_headers(words.proxy_headers.size());
  std::uint64_t rechecks = 0;
  std::int64_t recheck_took = 0;
  std::int64_t longest_turn = 0;

  for (const ShardSample& shard : samples) {
    for (const ListenerSample& listener : shard.listeners) {
      if (!listener.listener.empty()) add_to(listeners[listener.listener], listener);
      for (const RouteSample& route : listener.routes) {
        RouteSum& sum = routes[route.route];
        for (const std::size_t leg : {0U, 1U}) {
          sum.received[leg] += route.received_bytes[leg];
          sum.sent[leg] += route.sent_bytes[leg];
        }
        sum.lingering += route.lingering;
        sum.connect += route.connect;
        sum.warm += route.warm;
        sum.warm_hits += route.warm_hits;
        sum.warm_misses += route.warm_misses;
        sum.failovers += route.failovers;
        for (std::size_t limit = 0; limit < kLimitWords.size(); ++limit)
          sum.limits_reached[limit] += route.limits_reached[limit];
        for (std::size_t count = 0; count < sum.backend_tls.size(); ++count)
          sum.backend_tls[count] += route.backend_tls[count];
        sum.backend_tls_took += route.backend_tls_took;
      }
    }
    for (const auto& each : shard.negotiated) {
      negotiated[{each.version, each.group, each.cipher}] += each.count;
    }
    for (const auto& [route, expiry] : shard.peer_expiries) {
      auto& soonest = peer_expiries.try_emplace(route, expiry).first->second;
      soonest = std::min(soonest, expiry);
    }
    for (const std::size_t direction : {0U, 1U}) {
      keyupdates[direction] += shard.keyupdates[direction];
      for (const std::size_t model : {0U, 1U}) {
        records[direction][model] += shard.records_open[direction][model];
      }
    }
    add_to(fallback, shard.ktls_fallback);
    add_to(kept, shard.kept);
    add_to(proxy_headers, shard.proxy_headers);
    rechecks += shard.rechecks;
    recheck_took = std::max(recheck_took, shard.recheck_took_ns);
    longest_turn = std::max(longest_turn, shard.recheck_longest_turn_ns);
    add(MetricId::kShardBusy, {std::to_string(shard.shard)},
        static_cast<double>(shard.busy_ns) / 1e9);
  }

  const auto number = [](std::uint64_t count) { return static_cast<double>(count); };
  std::uint64_t in_flight = 0;
  for (const auto& [name, sum] : listeners) {
    add(MetricId::kConnectionsAccepted, {name}, number(sum.total.accepted));
    in_flight += sum.total.handshakes_in_flight;
    for (const auto& [route, counts] : sum.routes) {
      const auto& [open, closed] = counts;
      add(MetricId::kConnections, {name, route}, number(open));
      for (std::size_t i = 0; i < closed.size(); ++i) {
        add(MetricId::kConnectionsClosed, {name, route, words.close_reasons[i]}, number(closed[i]));
      }
    }
    for (const std::size_t resumed : {0U, 1U}) {
      for (std::size_t i = 0; i < sum.total.handshakes.size(); ++i) {
        // Zeros are shown, so that a first failure is an increase.
        add(MetricId::kTlsHandshakes, {name, words.handshake_results[i], kBooleans[resumed]},
            number(sum.total.handshakes[i][resumed]));
      }
      add(MetricId::kTlsHandshakeDuration, {name, kBooleans[resumed]},
          sum.total.durations[resumed]);
    }
  }
  add(MetricId::kTlsHandshakesInFlight, {}, number(in_flight));

  for (const auto& [route, sum] : routes) {
    for (std::size_t limit = 0; limit < kLimitWords.size(); ++limit) {
      if (is_of_route(Limit{limit}) == route.empty()) continue;
      add(MetricId::kLimitReached, {route, kLimitWords[limit]}, number(sum.limits_reached[limit]));
    }
    const bool any = sum.received != std::array<std::uint64_t, 2>{} ||
                     sum.sent != std::array<std::uint64_t, 2>{} || sum.connect.count() != 0;
    if (route.empty() && !any) continue;
    for (const std::size_t leg : {0U, 1U}) {
      add(MetricId::kReceivedBytes, {route, kLegs[leg]}, number(sum.received[leg]));
      add(MetricId::kSentBytes, {route, kLegs[leg]}, number(sum.sent[leg]));
    }
    add(MetricId::kConnectionsLingering, {route}, number(sum.lingering));
    add(MetricId::kBackendConnectDuration, {route}, sum.connect);
    add(MetricId::kBackendFailovers, {route}, number(sum.failovers));
    for (std::size_t count = 0; count < sum.backend_tls.size(); ++count) {
      add(MetricId::kBackendTlsHandshakes,
          {route, kBackendTlsWords[count / 2], kBooleans[count % 2]},
          number(sum.backend_tls[count]));
    }
    add(MetricId::kBackendTlsHandshakeDuration, {route}, sum.backend_tls_took);
    add(MetricId::kWarmConnections, {route}, number(sum.warm));
    add(MetricId::kWarmHits, {route}, number(sum.warm_hits));
    add(MetricId::kWarmMisses, {route}, number(sum.warm_misses));
  }
  for (const auto& [route, expiry] : peer_expiries) {
    add(MetricId::kPeerCertificateExpiry, {route},
        std::chrono::duration<double>(expiry.time_since_epoch()).count());
  }
  for (const auto& [names, count] : negotiated) {
    const auto& [version, group, cipher] = names;
    add(MetricId::kTlsNegotiated, {version, group, cipher}, number(count));
  }
  for (const std::size_t direction : {0U, 1U}) {
    add(MetricId::kTlsKeyupdates, {kDirections[direction]}, number(keyupdates[direction]));
    for (const std::size_t model : {0U, 1U}) {
      add(MetricId::kRecordsConnections, {kDirections[direction], kRecords[model]},
          number(records[direction][model]));
    }
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    add(MetricId::kConnectionsKept, {words.live_causes[i]}, number(kept[i]));
  }
  for (std::size_t i = 0; i < proxy_headers.size(); ++i) {
    const auto& [direction, result] = words.proxy_headers[i];
    add(MetricId::kProxyHeaders, {direction, result}, number(proxy_headers[i]));
  }
  add(MetricId::kLiveRechecks, {}, number(rechecks));
  add(MetricId::kLiveRecheckDuration, {}, static_cast<double>(recheck_took) / 1e9);
  add(MetricId::kLiveRecheckLongestTurn, {}, static_cast<double>(longest_turn) / 1e9);
  for (std::size_t i = 0; i < fallback.size(); ++i) {
    add(MetricId::kKtlsFallback, {words.fallback_reasons[i]}, number(fallback[i]));
  }
}

void TextFormat::process() {
  const ProcessSample sample = sample_process();
  const auto add_if = [this](MetricId id, const auto& value) {
    if (value) add(id, {}, static_cast<double>(*value));
  };
  add_if(MetricId::kProcessCpu, sample.cpu_seconds);
  add_if(MetricId::kProcessOpenFds, sample.open_fds);
  add_if(MetricId::kProcessMaxFds, sample.max_fds);
  add_if(MetricId::kProcessVirtualMemory, sample.virtual_bytes);
  add_if(MetricId::kProcessResidentMemory, sample.resident_bytes);
  add_if(MetricId::kProcessStartTime, sample.start_time_seconds);
  add_if(MetricId::kProcessThreads, sample.threads);
}

std::string TextFormat::serialize() {
  std::size_t size = 0;
  for (Families::Family& family : families_->all) {
    family.write();
    size += family.text.size();
  }
  std::string text;
  text.reserve(size);
  for (Families::Family& family : families_->all) text += std::exchange(family.text, {});
  return text;
}

}  // namespace sallyport::metrics
