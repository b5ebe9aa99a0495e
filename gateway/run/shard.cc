#include "gateway/run/shard.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <utility>

#include "gateway/backends/tcp_options.h"
#include "gateway/connection/backend_linger.h"
#include "gateway/connection/random_word.h"
#include "gateway/connection/recheck.h"
#include "gateway/connection/rounds.h"
#include "gateway/observe/log.h"
#include "gateway/run/listener.h"
#include "iouring/deadline.h"
#include "iouring/short_slice.h"

namespace sallyport::gateway {
namespace {

constexpr std::chrono::milliseconds kLastQuiet{2'000};
// Some iterations of a busy loop. While the control thread reads a configuration on the shard's
// CPU, every 100th wake-up of the shard waited 3 ms for the end of its slice, and 0.1 ms with this
// one.
constexpr std::chrono::microseconds kSlice{300};
// For describing connections or peers, 2 to 5 us each, while the others of the shard wait.
constexpr std::chrono::microseconds kDescribingTurn{500};

}  // namespace

std::expected<std::unique_ptr<Shard>, std::string> Shard::create(ShardOptions options) {
  auto ring = iouring::Ring::create({.registered_descriptors = options.registered_descriptors,
                                     .busy_poll = options.busy_poll,
                                     .wake_coalescing = options.wake_coalescing});
  if (!ring) return std::unexpected(ring.error().what);
  auto small = iouring::BufferRing::create(**ring);
  auto whole = iouring::BufferRing::create(**ring, ktls::kWholeBytes, ktls::kWholeCount);
  auto idle_worker = iouring::IdleWorker::create(**ring, {});
  if (!idle_worker) return std::unexpected(std::string("eventfd: ") + idle_worker.error().name());
  if (!small || !whole) {
    const iouring::Errno error = small ? whole.error() : small.error();
    return std::unexpected(std::string("provided buffers: ") + error.name());
  }
  std::unique_ptr<Shard> shard(new Shard(std::move(options), *std::move(ring),
                                         *std::move(idle_worker), *std::move(small),
                                         *std::move(whole)));
  auto inbox = iouring::Inbox::create(*shard->ring_);
  if (!inbox) return std::unexpected(std::string("eventfd: ") + inbox.error().name());
  shard->inbox_ = *std::move(inbox);
#ifdef SALLYPORT_FAULTS
  shard->faults_ = fault_plan_from_environment();
  shard->ring_->set_faults(shard->faults_.get());
#endif
  return shard;
}

Shard::Shard(ShardOptions options, std::unique_ptr<iouring::Ring> ring,
             std::unique_ptr<iouring::IdleWorker> idle_worker,
             std::unique_ptr<iouring::BufferRing> small, std::unique_ptr<iouring::BufferRing> whole)
    : options_(std::move(options)),
      ring_(std::move(ring)),
      small_(std::move(small)),
      whole_(std::move(whole)),
      idle_worker_(std::move(idle_worker)),
      blocks_(ring_->timers()),
      state_(*ring_, *idle_worker_,
             ktls::RecordPools{
                 .small = *small_, .whole = *whole_, .blocks = blocks_, .contexts = contexts_},
             options_.timeouts, options_.ends, options_.records, options_.handshakes,
             options_.limit, options_.client_limits, options_.metrics, options_.connection_log,
             random_word()),
      warm_(state_, {.shard = options_.index, .shards = options_.shards, .most = options_.warm}),
      connections_(*ring_),
      chores_(*ring_) {
  state_.accept_proxy = options_.accept_proxy;
  state_.balancer.prefer(options_.zone);
}

Shard::~Shard() {
  join();
}

iouring::Result<iouring::SocketAddress> Shard::bind(const std::string& text,
                                                    const iouring::SocketAddress& address,
                                                    iouring::ListenOptions options,
                                                    Clients clients) {
  auto listener = iouring::Listener::bind(*ring_, address, options);
  if (!listener) return std::unexpected(listener.error());
  set_tcp_options((*listener)->descriptor());
  const iouring::SocketAddress got = (*listener)->address();
  add(text, *std::move(listener), std::move(clients));
  return got;
}

iouring::Result<> Shard::adopt(const std::string& text, iouring::FileDescriptor bound,
                               Clients clients) {
  auto listener = iouring::Listener::adopt(*ring_, std::move(bound));
  if (!listener) return std::unexpected(listener.error());
  add(text, *std::move(listener), std::move(clients));
  return {};
}

void Shard::add(const std::string& text, std::unique_ptr<iouring::Listener> listener,
                Clients clients) {
  listeners_.push_back(std::make_unique<Bound>(
      Bound{.listener = std::move(listener),
            .served = {.text = text,
                       .cells = options_.metrics.listener(text),
                       .egress_route = std::move(clients.egress_route),
                       .starttls_postgresql = clients.starttls_postgresql}}));
}

void Shard::start(std::shared_ptr<const Snapshot> snapshot, TlsContexts tls,
                  BackendContexts backend_tls) {
  state_.balancer.update(snapshot->endpoints);
  state_.snapshot = std::move(snapshot);
  state_.tls = std::move(tls);
  state_.backend_tls = std::move(backend_tls);
  warm_.update();
  thread_ = std::thread([this] { thread_main(); });
}

std::expected<void, Shard::ListenError> Shard::listen(bool beside_others) {
  std::promise<std::expected<void, ListenError>> promise;
  auto outcome = promise.get_future();
  inbox_->post([&] { promise.set_value(listen_on_all(beside_others)); });
  return outcome.get();
}

std::expected<void, Shard::ListenError> Shard::listen_on_all(bool beside_others) {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    iouring::Listener& listener = *listeners_[i]->listener;
    // All shards have the same unix socket.
    const bool is_unix = listener.address().is_unix();
    iouring::Result<> outcome =
        beside_others && !is_unix ? listener.share_port() : listener.listen();
    if (outcome && !is_unix) outcome = beside_others ? listener.listen() : listener.share_port();
    if (!outcome) return std::unexpected(ListenError{i, outcome.error()});
  }
  return {};
}

void Shard::join() {
  if (thread_.joinable()) thread_.join();
}

void Shard::thread_main() {
  pthread_setname_np(pthread_self(), ("shard-" + std::to_string(options_.index)).c_str());
  pin();
  start_idle_worker();
  iouring::ask_for_slice(kSlice);
  ring_->run(run());
  idle_worker_->stop();
  // Released here, so that no other thread drops what only this one may touch.
  state_.tls.reset();
  state_.backend_tls.reset();
  state_.snapshot.reset();
  ended_ = true;
  if (options_.on_ended) options_.on_ended();
}

void Shard::pin() const {
  if (!options_.cpu) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(*options_.cpu), &set);
  const int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  if (error != 0) {
    log_warning(
        "shard not pinned",
        {{"shard", options_.index}, {"cpu", *options_.cpu}, {"error", std::strerror(error)}});
  }
}

void Shard::start_idle_worker() const {
  const iouring::Result<> started =
      idle_worker_->start("handshake-" + std::to_string(options_.index));
  if (started) return;
  log_info("handshakes run in the event loop: a thread for them needs an RLIMIT_NICE of 20",
           {{"shard", options_.index}, {"error", started.error().name()}});
}

iouring::Task<void> Shard::run() {
  chores_.spawn(make_rounds(state_));
  chores_.spawn(recheck_live(state_));
  chores_.spawn(warm_.run());
  if (options_.watchdog != nullptr) chores_.spawn(feed_watchdog());
  iouring::TaskGroup acceptors(*ring_);
  for (const auto& bound : listeners_) {
    acceptors.spawn(accept_connections(state_, bound->served, *bound->listener, connections_));
  }
  co_await acceptors.join();  // until drain() has stopped the listeners
  chores_.spawn(end_within_drain_timeout());
  co_await connections_.join();
  co_await state_.backend_sessions.stop();
  chores_.cancel_all();
  co_await chores_.join();
}

iouring::Task<void> Shard::feed_watchdog() {
  for (;;) {
    options_.watchdog->turned(options_.index);
    iouring::Result<> slept = co_await iouring::sleep_for(*ring_, options_.watchdog->interval());
    if (!slept) co_return;
  }
}

iouring::Task<void> Shard::stop_listeners() {
  for (const auto& bound : listeners_) {
    co_await bound->listener->stop();
  }
}

iouring::Task<void> Shard::end_within_drain_timeout() {
  if (options_.drain_timeout.count() == 0) co_return;
  // The last ones that are asked have some time left to become quiet.
  const auto margin = std::min(options_.drain_timeout / 4, kLastQuiet);
  iouring::CancelScope& asking =
      chores_.spawn(drain_evenly(state_, options_.drain_timeout - margin));
  iouring::Result<> slept = co_await iouring::sleep_for(*ring_, options_.drain_timeout);
  if (!slept) co_return;
  asking.cancel();
  end_all();
}

void Shard::end_all() {
  // end() only cancels: a connection leaves the list when the run loop resumes it.
  iouring::List<LiveConnection> ended;
  while (!state_.live.empty()) {
    LiveConnection& connection = state_.live.pop_front();
    ended.push_back(connection);
    connection.end(CloseReason::kDrain);
  }
  state_.live.splice_back(ended);
}

void Shard::update(std::shared_ptr<const Snapshot> snapshot, TlsContexts tls,
                   BackendContexts backend_tls) {
  inbox_->post([this, snapshot = std::move(snapshot), tls = std::move(tls),
                backend_tls = std::move(backend_tls)]() mutable {
    const bool judges_otherwise =
        snapshot->credentials != state_.snapshot->credentials ||
        snapshot->named != state_.snapshot->named || snapshot->policy != state_.snapshot->policy ||
        (snapshot->endpoints != state_.snapshot->endpoints && snapshot->policy->judges_endpoints());
    state_.balancer.update(snapshot->endpoints);
    state_.snapshot = std::move(snapshot);
    if (tls) state_.tls = std::move(tls);
    state_.backend_tls = std::move(backend_tls);
    warm_.update();
    if (judges_otherwise) gateway::judge_all(state_);
  });
}

void Shard::judge_all() {
  inbox_->post([this] { gateway::judge_all(state_); });
}

void Shard::drain() {
  inbox_->post([this] {
    if (std::exchange(draining_, true)) return;
    warm_.stop();
    chores_.spawn(stop_listeners());
  });
}

void Shard::end_lingering() {
  inbox_->post([this] { gateway::end_lingering(state_); });
}

void Shard::end_connections() {
  inbox_->post([this] { end_all(); });
}

void Shard::describe(std::optional<std::uint64_t> after, std::size_t most, TakeSlice take) {
  if (ended_) return take({});
  inbox_->post(
      [this, after, most, take = std::move(take)]() mutable { take(describe_some(after, most)); });
}

void Shard::describe_peers(std::uint64_t after, std::size_t most, WhichPeers which,
                           TakePeers take) {
  if (ended_) return take({});
  inbox_->post([this, after, most, which, take = std::move(take)]() mutable {
    PeerSlice slice = state_.peers.describe(after, most, which, kDescribingTurn);
    if (slice.next) slice.next->shard = options_.index;
    take(std::move(slice));
  });
}

ConnectionSlice Shard::describe_some(std::optional<std::uint64_t> after, std::size_t most) {
  ConnectionSlice slice;
  if (state_.live.empty()) return slice;
  const auto end = std::chrono::steady_clock::now() + kDescribingTurn;
  LiveConnection* next = &state_.live.front();
  // Numbers grow along the list.
  while (next != nullptr && after && !next->is_behind(*after)) next = state_.live.next(*next);
  while (next != nullptr && slice.connections.size() < most) {
    slice.connections.push_back(next->live_facts());
    after = next->number();
    next = state_.live.next(*next);
    if (std::chrono::steady_clock::now() >= end) break;
  }
  if (next != nullptr) slice.next = {.shard = options_.index, .after = after};
  return slice;
}

}  // namespace sallyport::gateway
