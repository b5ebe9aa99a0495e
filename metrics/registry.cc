#include "metrics/registry.h"

#include <algorithm>
#include <utility>

#include "metrics/text_format.h"

namespace sallyport::metrics {
namespace {

// For times of the system clock, and for those of certificates, whose range is larger.
template <class Duration>
double seconds(std::chrono::sys_time<Duration> time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

// A counter must be seen at its last value, and a rate over it be right for a while.
constexpr std::chrono::hours kGoneSeriesStay{1};

// From the sum of a name's addresses to what it has of those that are forgotten. The sum is of the
// last scrape, in which the address had no more than now.
void move(std::uint64_t count, std::uint64_t& sum, std::uint64_t& lost) {
  sum -= std::min(sum, count);
  lost += count;
}

void move(const BackendFacts& address, BackendFacts& sum, BackendFacts& lost) {
  move(address.connect_failures, sum.connect_failures, lost.connect_failures);
  move(address.ejections, sum.ejections, lost.ejections);
  sum.checks.resize(std::max(sum.checks.size(), address.checks.size()));
  lost.checks.resize(std::max(lost.checks.size(), address.checks.size()));
  for (std::size_t i = 0; i < address.checks.size(); ++i)
    move(address.checks[i], sum.checks[i], lost.checks[i]);
}

// Another address of the same name.
void add(BackendFacts& sum, const BackendFacts& each) {
  if (each.up) sum.up = sum.up.value_or(false) || *each.up;
  if (each.healthy) sum.healthy = sum.healthy.value_or(false) || *each.healthy;
  sum.connect_failures += each.connect_failures;
  sum.ejections += each.ejections;
  sum.connections += each.connections;
  sum.checks.resize(std::max(sum.checks.size(), each.checks.size()));
  for (std::size_t i = 0; i < each.checks.size(); ++i) sum.checks[i] += each.checks[i];
}

void add_series(TextFormat& text, const std::string& route, const std::string& target,
                const BackendFacts& facts, bool given, const Vocabulary& words) {
  const auto number = [](std::uint64_t count) { return static_cast<double>(count); };
  if (given && facts.up) text.add(MetricId::kBackendUp, {route, target}, *facts.up ? 1 : 0);
  if (given && facts.healthy)
    text.add(MetricId::kBackendHealthy, {route, target}, *facts.healthy ? 1 : 0);
  for (std::size_t i = 0; i < facts.checks.size(); ++i) {
    text.add(MetricId::kBackendChecks, {route, target, words.check_results[i]},
             number(facts.checks[i]));
  }
  text.add(MetricId::kBackendConnectFailures, {route, target}, number(facts.connect_failures));
  text.add(MetricId::kBackendEjections, {route, target}, number(facts.ejections));
  if (given) text.add(MetricId::kBackendConnections, {route, target}, number(facts.connections));
}

}  // namespace

Registry::Registry(Vocabulary words, BuildInfo build) : words_(words), build_(std::move(build)) {}

Registry::~Registry() = default;

ShardMetrics& Registry::add_shard(unsigned shard) {
  const std::lock_guard lock(mutex_);
  return *shards_.emplace_back(std::make_unique<ShardMetrics>(shard, words_));
}

void Registry::set_backends(const std::vector<BackendFacts>& backends, SteadyTime now) {
  std::map<Names, Backend> fresh;
  for (const BackendFacts& each : backends) add(fresh[{each.route, each.backend}].facts, each);
  const std::lock_guard lock(mutex_);
  for (auto& [names, backend] : backends_) {
    if (const auto given = fresh.find(names); given != fresh.end()) {
      given->second.lost = std::move(backend.lost);
      continue;
    }
    if (!backend.gone) leave(names, backend, now);
    fresh.try_emplace(names, std::move(backend));
  }
  backends_.swap(fresh);
  drop_gone(now);
}

void Registry::forget_backends(const std::vector<BackendFacts>& addresses, SteadyTime now) {
  const std::lock_guard lock(mutex_);
  for (const BackendFacts& each : addresses) {
    const auto [entry, first_seen] = backends_.try_emplace({each.route, each.backend});
    Backend& backend = entry->second;
    if (first_seen) leave(entry->first, backend, now);
    move(each, backend.facts, backend.lost);
  }
  drop_gone(now);
}

void Registry::leave(const Names& names, Backend& backend, SteadyTime now) {
  backend.gone = now;
  gone_.emplace_back(now, names);
}

void Registry::drop_gone(SteadyTime now) {
  while (!gone_.empty()) {
    const auto& [since, names] = gone_.front();
    if (gone_.size() <= kMostGone && now - since < kGoneSeriesStay) return;
    const auto found = backends_.find(names);
    // It may have come back, and left again.
    if (found != backends_.end() && found->second.gone == since) backends_.erase(found);
    gone_.pop_front();
  }
}

void Registry::set_certificates(std::vector<CertificateExpiry> certificates) {
  const std::lock_guard lock(mutex_);
  certificates_.swap(certificates);
}

void Registry::set_crls(std::vector<CrlNextUpdate> crls) {
  const std::lock_guard lock(mutex_);
  crls_.swap(crls);
}

void Registry::set_discovery_routes(std::map<std::string, bool> current) {
  const std::lock_guard lock(mutex_);
  discovery_routes_.swap(current);
}

void Registry::set_ktls_support(KtlsSupport support) {
  const std::lock_guard lock(mutex_);
  ktls_ = std::move(support);
}

void Registry::set_ready(bool ready) {
  const std::lock_guard lock(mutex_);
  ready_ = ready;
}

void Registry::set_tls_library(std::string_view mode) {
  const std::lock_guard lock(mutex_);
  tls_library_ = mode;
}

void Registry::set_generation(std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  generation_ = generation;
}

void Registry::set_max_connections(std::uint64_t connections) {
  const std::lock_guard lock(mutex_);
  max_connections_ = connections;
}

void Registry::set_dropped_lines(std::vector<std::pair<std::string_view, std::uint64_t>> lines) {
  const std::lock_guard lock(mutex_);
  dropped_lines_.swap(lines);
}

void Registry::set_left_out_lines(std::vector<std::pair<std::string_view, std::uint64_t>> lines) {
  const std::lock_guard lock(mutex_);
  left_out_lines_.swap(lines);
}

void Registry::config_reloaded(std::string_view source, bool success,
                               std::chrono::system_clock::time_point now) {
  const std::lock_guard lock(mutex_);
  Source& entry = sources_.try_emplace(std::string(source)).first->second;
  if (!success) {
    ++entry.failures;
    return;
  }
  ++entry.successes;
  entry.last_success_seconds = seconds(now);
}

void Registry::config_current(std::string_view source, bool current) {
  const std::lock_guard lock(mutex_);
  sources_.try_emplace(std::string(source)).first->second.current = current;
}

void Registry::config_loaded(std::string_view source, std::chrono::system_clock::time_point now) {
  const std::lock_guard lock(mutex_);
  sources_.try_emplace(std::string(source)).first->second.last_success_seconds = seconds(now);
}

void Registry::show_state_writes() {
  const std::lock_guard lock(mutex_);
  if (!state_writes_) state_writes_ = StateWrites{};
}

void Registry::state_written(bool success) {
  const std::lock_guard lock(mutex_);
  if (!state_writes_) state_writes_ = StateWrites{};
  ++(success ? state_writes_->successes : state_writes_->failures);
}

std::vector<ShardSample> Registry::sample_shards() const {
  std::vector<const ShardMetrics*> shards;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& shard : shards_) shards.push_back(shard.get());
  }
  std::vector<ShardSample> samples;
  samples.reserve(shards.size());
  for (const ShardMetrics* shard : shards) samples.push_back(shard->sample());
  return samples;
}

void Registry::set_routes(std::set<std::string> routes) {
  const std::lock_guard lock(mutex_);
  routes_.configure(std::move(routes), std::chrono::steady_clock::now());
}

std::uint64_t Registry::open_connections() const {
  std::uint64_t open = 0;
  for (const ShardSample& shard : sample_shards()) {
    for (const ListenerSample& listener : shard.listeners) {
      for (const RouteSample& route : listener.routes) open += route.open;
    }
  }
  return open;
}

std::string Registry::scrape() const {
  TextFormat text;
  std::vector<ShardSample> samples = sample_shards();
  {
    const std::lock_guard lock(mutex_);
    routes_.apply(samples, std::chrono::steady_clock::now());
  }
  text.shards(samples, words_);
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [names, backend] : backends_) {
      BackendFacts facts = backend.facts;
      add(facts, backend.lost);
      add_series(text, names.first, names.second, facts, !backend.gone, words_);
    }
    for (const CertificateExpiry& each : certificates_) {
      text.add(MetricId::kCertificateNotBefore, {each.role, each.name}, seconds(each.not_before));
      text.add(MetricId::kCertificateExpiry, {each.role, each.name}, seconds(each.not_after));
    }
    for (const CrlNextUpdate& each : crls_) {
      text.add(MetricId::kCrlThisUpdate, {each.name}, seconds(each.this_update));
      text.add(MetricId::kCrlNextUpdate, {each.name}, seconds(each.next_update));
    }
    for (const auto& [route, current] : discovery_routes_) {
      text.add(MetricId::kDiscoveryRouteCurrent, {route}, current ? 1 : 0);
    }
    if (ktls_) {
      for (const KtlsSupport::Cipher& each : ktls_->ciphers) {
        text.add(MetricId::kKtlsSupported, {each.version, each.cipher}, each.supported ? 1 : 0);
      }
      text.add(MetricId::kKtlsRekeySupported, {}, ktls_->rekey ? 1 : 0);
    }
    if (ready_) text.add(MetricId::kReady, {}, *ready_ ? 1 : 0);
    if (!tls_library_.empty()) text.add(MetricId::kTlsLibrary, {tls_library_}, 1);
    if (generation_) text.add(MetricId::kGeneration, {}, static_cast<double>(*generation_));
    if (max_connections_) {
      text.add(MetricId::kMaxConnections, {}, static_cast<double>(*max_connections_));
    }
    for (const auto& [cause, lines] : dropped_lines_) {
      text.add(MetricId::kLogLinesDropped, {cause}, static_cast<double>(lines));
    }
    for (const auto& [cause, lines] : left_out_lines_) {
      text.add(MetricId::kLogLinesLeftOut, {cause}, static_cast<double>(lines));
    }
    for (const auto& [name, source] : sources_) {
      text.add(MetricId::kConfigReloads, {name, "success"}, static_cast<double>(source.successes));
      text.add(MetricId::kConfigReloads, {name, "failure"}, static_cast<double>(source.failures));
      text.add(MetricId::kConfigLastReloadSuccess, {name}, source.last_success_seconds);
      text.add(MetricId::kConfigSourceCurrent, {name}, source.current ? 1 : 0);
    }
    if (state_writes_) {
      const auto& [successes, failures] = *state_writes_;
      text.add(MetricId::kStateWrites, {"success"}, static_cast<double>(successes));
      text.add(MetricId::kStateWrites, {"failure"}, static_cast<double>(failures));
    }
  }
  text.add(MetricId::kBuildInfo, {build_.version, build_.openssl, build_.kernel, build_.liburing},
           1);
  text.process();
  return text.serialize();
}

}  // namespace sallyport::metrics
