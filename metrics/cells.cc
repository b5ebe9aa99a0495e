#include "metrics/cells.h"

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <utility>

namespace sallyport::metrics {
namespace {

constexpr auto kBucketNanoseconds = [] {
  std::array<std::int64_t, kBucketSeconds.size()> bounds{};
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] = static_cast<std::int64_t>(kBucketSeconds[i] * 1e9 + 0.5);
  }
  return bounds;
}();

std::uint64_t sum(std::span<const std::uint64_t> values) {
  return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

std::vector<std::uint64_t> values(const std::vector<Counter>& counters) {
  std::vector<std::uint64_t> result;
  result.reserve(counters.size());
  for (const Counter& counter : counters) result.push_back(counter.value());
  return result;
}

[[noreturn]] void broken(const char* what, const std::string& had, std::string_view got) {
  std::fprintf(stderr, "metrics: %s: had '%s', got '%.*s'\n", what, had.c_str(),
               static_cast<int>(got.size()), got.data());
  std::abort();
}

}  // namespace

HistogramSample& HistogramSample::operator+=(const HistogramSample& other) {
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
  sum_seconds += other.sum_seconds;
  return *this;
}

std::uint64_t HistogramSample::count() const {
  return sum(counts);
}

void Histogram::observe(std::chrono::nanoseconds duration) noexcept {
  const std::int64_t ns = duration.count() < 0 ? 0 : duration.count();
  std::size_t bucket = 0;
  while (bucket < kBucketNanoseconds.size() && ns > kBucketNanoseconds[bucket]) ++bucket;
  counts_[bucket].add();
  sum_ns_.add(static_cast<std::uint64_t>(ns));
}

HistogramSample Histogram::sample() const {
  HistogramSample result;
  for (std::size_t i = 0; i < counts_.size(); ++i) result.counts[i] = counts_[i].value();
  result.sum_seconds = static_cast<double>(sum_ns_.value()) / 1e9;
  return result;
}

RouteCells::RouteCells(std::string route, std::size_t close_reasons)
    : route_(std::move(route)), closed_(close_reasons) {}

ListenerCells::ListenerCells(std::string listener, const Vocabulary& words)
    : listener_(std::move(listener)),
      close_reasons_(words.close_reasons.size()),
      handshakes_(words.handshake_results.size()),
      unrouted_("", close_reasons_) {}

RouteCells& ListenerCells::route(std::string_view name) {
  if (name.empty()) return unrouted_;
  // The shard's thread is the only one that changes the map, so it may look without the lock.
  const auto known = routes_.find(name);
  if (known != routes_.end()) return *known->second;
  auto cells = std::make_unique<RouteCells>(std::string(name), close_reasons_);
  RouteCells& result = *cells;
  const std::lock_guard lock(shape_mutex_);
  routes_.emplace(name, std::move(cells));
  return result;
}

ListenerSample ListenerCells::sample() const {
  std::vector<const RouteCells*> cells{&unrouted_};
  {
    const std::lock_guard lock(shape_mutex_);
    for (const auto& [name, route] : routes_) cells.push_back(route.get());
  }

  ListenerSample result;
  result.listener = listener_;
  result.routes.resize(cells.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    RouteSample& route = result.routes[i];
    route.route = cells[i]->route_;
    for (const std::size_t leg : {0U, 1U}) {
      route.received_bytes[leg] = cells[i]->received_[leg].value();
      route.sent_bytes[leg] = cells[i]->sent_[leg].value();
    }
    const std::uint64_t ended = cells[i]->lingering_ended_.value();  // before: never below zero
    route.lingering = cells[i]->lingering_begun_.value() - ended;
    route.connect = cells[i]->connect_.sample();
    const std::uint64_t closed = cells[i]->warm_closed_.value();  // likewise
    route.warm = cells[i]->warm_opened_.value() - closed;
    route.warm_hits = cells[i]->warm_hits_.value();
    route.warm_misses = cells[i]->warm_misses_.value();
    route.failovers = cells[i]->failovers_.value();
    for (std::size_t limit = 0; limit < kLimitWords.size(); ++limit)
      route.limits_reached[limit] = cells[i]->limits_reached_[limit].value();
    for (std::size_t count = 0; count < route.backend_tls.size(); ++count)
      route.backend_tls[count] = cells[i]->backend_tls_[count].value();
    route.backend_tls_took = cells[i]->backend_tls_took_.sample();
  }

  // Against the order in which they are written: closed, then routed, then accepted. A route that
  // appeared since the list was copied is not in it; its connections still count as unrouted.
  for (std::size_t i = 0; i < cells.size(); ++i)
    result.routes[i].closed = values(cells[i]->closed_);
  std::uint64_t routed = 0;
  for (std::size_t i = 1; i < cells.size(); ++i) {
    const std::uint64_t here = cells[i]->routed_.value();
    result.routes[i].open = here - sum(result.routes[i].closed);
    routed += here;
  }
  result.accepted = accepted_.value();
  result.routes[0].open = result.accepted - routed - sum(result.routes[0].closed);

  std::uint64_t ended = 0;
  for (const auto& by_resumed : handshakes_) {
    result.handshakes.push_back({by_resumed[0].value(), by_resumed[1].value()});
    ended += sum(result.handshakes.back());
  }
  result.handshakes_in_flight = handshakes_started_.value() - ended;
  for (const std::size_t resumed : {0U, 1U}) {
    result.durations[resumed] = durations_[resumed].sample();
  }
  return result;
}

OpenConnection::OpenConnection(ListenerCells& listener, WordIndex fallback)
    : listener_(listener),
      route_(&listener.unrouted_),
      fallback_(static_cast<std::uint32_t>(fallback.value())) {
  listener_.accepted_.add();
}

OpenConnection::~OpenConnection() {
  if (!ended_) route_->closed_.at(fallback_).add();
}

void OpenConnection::ends_with(WordIndex reason) {
  if (ended_) broken("a connection ended twice", listener_.listener_, route_->route_);
  ended_ = true;
  route_->closed_.at(reason.value()).add();
}

RouteCells& OpenConnection::routed(std::string_view name) {
  if (route_ != &listener_.unrouted_) broken("a connection was routed twice", route_->route_, name);
  if (name.empty()) broken("a connection was routed to no route", "", name);
  route_ = &listener_.route(name);
  route_->routed_.add();
  return *route_;
}

StartedHandshake::StartedHandshake(ListenerCells& listener, WordIndex fallback)
    : listener_(listener), fallback_(fallback.value()) {
  listener_.handshakes_started_.add();
}

StartedHandshake::~StartedHandshake() {
  if (!ended_) listener_.handshakes_.at(fallback_)[0].add();
}

void StartedHandshake::ends_with(WordIndex result, bool resumed, std::chrono::nanoseconds took) {
  if (ended_) broken("a handshake ended twice", listener_.listener_, listener_.listener_);
  ended_ = true;
  listener_.handshakes_.at(result.value())[resumed ? 1 : 0].add();
  listener_.durations_[resumed ? 1 : 0].observe(took);
}

ShardMetrics::ShardMetrics(unsigned shard, const Vocabulary& words)
    : shard_(shard),
      words_(words),
      ktls_fallback_(words.fallback_reasons.size()),
      kept_(words.live_causes.size()),
      proxy_headers_(words.proxy_headers.size()) {}

ListenerCells& ShardMetrics::listener(std::string_view name) {
  for (const auto& [known, cells] : listeners_) {
    if (known == name) return *cells;
  }
  auto cells = std::make_unique<ListenerCells>(std::string(name), words_);
  ListenerCells& result = *cells;
  const std::lock_guard lock(shape_mutex_);
  listeners_.emplace_back(name, std::move(cells));
  return result;
}

Moment& ShardMetrics::peer_expiry(std::string_view route) {
  const auto known = peer_expiries_.find(route);
  if (known != peer_expiries_.end()) return *known->second;
  const std::lock_guard lock(shape_mutex_);
  return *peer_expiries_.emplace(route, std::make_unique<Moment>()).first->second;
}

void ShardMetrics::negotiated(std::string_view version, std::string_view group,
                              std::string_view cipher) {
  for (const auto& known : negotiated_) {
    if (known->cipher == cipher && known->group == group && known->version == version) {
      known->count.add();
      return;
    }
  }
  auto made = std::make_unique<Negotiated>();
  made->version = version;
  made->group = group;
  made->cipher = cipher;
  made->count.add();
  const std::lock_guard lock(shape_mutex_);
  negotiated_.push_back(std::move(made));
}

ShardSample ShardMetrics::sample() const {
  std::vector<const ListenerCells*> listeners;
  std::vector<const Negotiated*> negotiated;
  ShardSample result;
  {
    const std::lock_guard lock(shape_mutex_);
    for (const auto& [route, expiry] : peer_expiries_) {
      if (const auto time = expiry->value()) result.peer_expiries.emplace_back(route, *time);
    }
    for (const auto& [name, cells] : listeners_) listeners.push_back(cells.get());
    for (const auto& cells : negotiated_) negotiated.push_back(cells.get());
  }
  result.shard = shard_;
  for (const ListenerCells* cells : listeners) result.listeners.push_back(cells->sample());
  for (const Negotiated* cells : negotiated) {
    result.negotiated.push_back(
        {cells->version, cells->group, cells->cipher, cells->count.value()});
  }
  for (const std::size_t direction : {0U, 1U}) {
    result.keyupdates[direction] = keyupdates_[direction].value();
    for (const std::size_t records : {0U, 1U}) {
      const Open& open = records_[direction][records];
      const std::uint64_t closed = open.closed.value();  // before opened: never below zero
      result.records_open[direction][records] = open.opened.value() - closed;
    }
  }
  result.ktls_fallback = values(ktls_fallback_);
  for (const Open& each : kept_) {
    const std::uint64_t closed = each.closed.value();  // before opened: never below zero
    result.kept.push_back(each.opened.value() - closed);
  }
  result.proxy_headers = values(proxy_headers_);
  result.rechecks = rechecks_.value();
  result.recheck_took_ns = recheck_took_ns_.value();
  result.recheck_longest_turn_ns = recheck_longest_turn_ns_.value();
  result.busy_ns = busy_ns_.value();
  return result;
}

}  // namespace sallyport::metrics
