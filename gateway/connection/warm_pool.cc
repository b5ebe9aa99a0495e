#include "gateway/connection/warm_pool.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <random>
#include <utility>

#include "gateway/backends/connect_outcome.h"
#include "gateway/backends/is_our_own.h"
#include "gateway/backends/judge_backend.h"
#include "gateway/backends/tcp_options.h"
#include "gateway/connection/backend_handshake.h"
#include "gateway/connection/connect_backend.h"
#include "gateway/connection/start_records.h"
#include "iouring/connect.h"
#include "iouring/deadline.h"
#include "iouring/next_iteration.h"
#include "ktls/records/plain_records.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// How soon a change of an endpoint's standing is seen.
constexpr milliseconds kLookEvery{100};
constexpr unsigned kLooksAJudgement = 10;
constexpr milliseconds kAsleep{3'600'000};  // update() ends it
// Some 10 µs each where none is in the cache: the others of the shard wait meanwhile.
constexpr std::size_t kStocksAtOnce = 16;
// Endpoints at which one is made at the same time.
constexpr unsigned kFilledAtOnce = 16;
constexpr milliseconds kLongestConnect{3'000};  // without a --connect-timeout
// No endpoint is to blame: is_our_own().
constexpr int kOurOwn = ENOBUFS;
// A connection waits shorter than it may by at most this part.
constexpr double kJitter = 0.1;

milliseconds waiting_time(const WarmRule& rule, std::mt19937_64& random) {
  const double chance = std::uniform_real_distribution<double>(1 - kJitter, 1)(random);
  return std::chrono::duration_cast<milliseconds>(rule.max_idle * chance);
}

iouring::Task<void> sleep(iouring::Ring& ring, milliseconds time) {
  [[maybe_unused]] iouring::Result<> slept = co_await iouring::sleep_for(ring, time);
}

std::uint32_t limit_of(const WarmStock& stock) {
  return stock.route()->limits.max_connections_per_endpoint;
}

bool is_full(const WarmStock& stock, std::uint64_t besides) {
  const std::uint32_t most = limit_of(stock);
  return most > 0 && stock.endpoint()->life->connections() + besides >= most;
}

}  // namespace

WarmPool::WarmPool(ShardState& shard, const Part& part)
    : shard_(shard), part_(part), cells_(shard.metrics.listener({})), tasks_(shard.ring) {}

WarmPool::~WarmPool() = default;

void WarmPool::update() {
  if (stopped_) return;
  for (auto& [name, stocks] : routes_) {
    for (auto& [id, each] : stocks) each.in_force = false;
  }
  const Policy::Pointer& policy = shard_.snapshot->policy;
  for (const Route& route : policy->routes()) {
    if (route.warm) update_route(std::shared_ptr<const Route>(policy, &route));
  }
  for (auto route = routes_.begin(); route != routes_.end();) {
    std::erase_if(route->second, [](auto& each) {
      const bool gone = !each.second.in_force;
      if (gone) each.second.stock->retire();
      return gone;
    });
    route = route->second.empty() ? routes_.erase(route) : std::next(route);
  }
  if (sleeping_ != nullptr) sleeping_->cancel();
}

void WarmPool::update_route(const std::shared_ptr<const Route>& route) {
  const RouteEndpoints* const endpoints = shard_.snapshot->endpoints->find(route->name);
  if (endpoints == nullptr) return;
  Stocks& stocks = routes_[route->name];
  WarmKeeper& keeper = *this;
  const auto place =
      static_cast<std::size_t>(route.get() - shard_.snapshot->policy->routes().data());
  const std::shared_ptr<ktls::ClientContext> context =
      route->backend_tls ? shard_.backend_tls->at(place) : nullptr;
  for (const std::shared_ptr<const Endpoint>& endpoint : endpoints->endpoints) {
    const auto part = [&](std::uint32_t count) {
      return part_of_shard(count, endpoint->hash, part_.shard, part_.shards);
    };
    const std::uint32_t max = part(route->warm->max);
    if (max == 0 || !endpoint->takes_new_connections()) continue;
    Stock& its = stocks[endpoint->id];
    its.in_force = true;
    const bool same = its.stock && its.stock->route() == route &&
                      its.stock->endpoint() == endpoint && its.context == context;
    if (same) continue;
    if (its.stock) its.stock->retire();
    its.context = context;
    its.stock = std::make_shared<WarmStock>(
        WarmStock::Settings{
            .route = route, .endpoint = endpoint, .min = part(route->warm->min), .max = max},
        keeper, shard_.ring, tasks_, cells_.route(route->name));
    shard_.balancer.set_warm(route->name, its.stock);
  }
}

void WarmPool::stop() {
  stopped_ = true;
  to_fill_.clear();
  for (auto& [name, stocks] : routes_) {
    for (auto& [id, each] : stocks) each.stock->retire();
  }
  routes_.clear();
}

iouring::Task<void> WarmPool::run() {
  iouring::CancelScope* const scope = co_await iouring::current_scope();
  while (!scope->cancelled()) {
    co_await look_at_all();
    iouring::CancelScope sleeping(scope);
    sleeping_ = &sleeping;
    co_await iouring::in_scope(sleeping,
                               sleep(shard_.ring, routes_.empty() ? kAsleep : kLookEvery));
    sleeping_ = nullptr;
  }
  stop();
  co_await tasks_.join();
}

// Stocks may come and go between two slices.
iouring::Task<void> WarmPool::look_at_all() {
  std::vector<std::weak_ptr<WarmStock>> all;
  for (const auto& [name, stocks] : routes_) {
    for (const auto& [id, each] : stocks) all.push_back(each.stock);
  }
  ++looks_;
  std::size_t looked_at = 0;
  for (const std::weak_ptr<WarmStock>& each : all) {
    if (const auto stock = each.lock()) look_at(*stock);
    if (++looked_at % kStocksAtOnce == 0) co_await iouring::next_iteration(shard_.ring);
  }
}

void WarmPool::look_at(WarmStock& stock) {
  if (stock.endpoint()->standing(shard_.ring.now()) != Standing::kGood) {
    stock.give_up(stock.ready());
  } else if (is_full(stock, 0)) {
    stock.give_up(1);
  }
  if (looks_ % kLooksAJudgement == 0) stock.judge();
  fill(stock);
}

const WarmPool::Stock* WarmPool::find(const WarmStock& stock) const {
  const auto route = routes_.find(stock.route()->name);
  if (route == routes_.end()) return nullptr;
  const auto its = route->second.find(stock.endpoint()->id);
  return its == route->second.end() || its->second.stock.get() != &stock ? nullptr : &its->second;
}

// As a handshake would be judged now.
bool WarmPool::holds(const WarmStock& stock, const ReadyConnection& ready) const {
  const Stock* const its = find(stock);
  if (its == nullptr) return false;
  if (!its->context) return !ready.peer;
  if (!ready.peer) return false;
  const Endpoint& endpoint = *stock.endpoint();
  const BackendVerdict verdict = judge_backend(
      *ready.peer, *stock.route()->backend_tls, *endpoint.labels, endpoint.target,
      its->context->credentials(), std::chrono::floor<std::chrono::seconds>(shard_.now()));
  return verdict.result() == ktls::HandshakeResult::kSuccess;
}

// ---- filling

bool WarmPool::needs_one(const WarmStock& stock) const {
  return !stopped_ && stock.wants_more() && !is_full(stock, 1) && tasks_.size() < part_.most;
}

// Later, where it failed a moment ago: look_at() comes back to it.
void WarmPool::fill(WarmStock& stock) {
  const bool soon = stock.next_fill() <= shard_.ring.now() + WarmPace::kBetween;
  if (stock.being_filled || !soon || !needs_one(stock)) return;
  const Endpoint& endpoint = *stock.endpoint();
  const auto now = shard_.ring.now();
  const Standing standing = endpoint.standing(now);
  const bool tried = standing == Standing::kFailing && !endpoint.health->avoided(now) &&
                     endpoint.health->claim_trial(now);
  if (standing != Standing::kGood && !tried) return;
  stock.being_filled = true;
  to_fill_.push_back(stock.shared_from_this());
  begin_filling();
}

void WarmPool::begin_filling() {
  while (filling_ < kFilledAtOnce && !to_fill_.empty()) {
    std::shared_ptr<WarmStock> next = std::move(to_fill_.front());
    to_fill_.pop_front();
    ++filling_;
    tasks_.spawn(fill_up(std::move(next)));
  }
}

// One after another, until there are enough or one could not be made.
iouring::Task<void> WarmPool::fill_up(std::shared_ptr<WarmStock> stock) {
  bool goes_on = true;
  while (goes_on) {
    co_await iouring::in_scope(stock->scope(), make_one(*stock));
    goes_on = needs_one(*stock) && stock->next_fill() <= shard_.ring.now() + WarmPace::kBetween;
  }
  stock->being_filled = false;
  --filling_;
  begin_filling();
}

iouring::Task<void> WarmPool::make_one(WarmStock& stock) {
  const auto pause = stock.next_fill() - shard_.ring.now();
  if (pause.count() > 0) {
    co_await sleep(shard_.ring, std::chrono::ceil<milliseconds>(pause));
    if (!needs_one(stock)) co_return;
  }
  // Not into the last place: a client may come.
  const std::uint32_t most = limit_of(stock);
  EndpointPlace place = EndpointPlace::enter(stock.endpoint()->life, most > 0 ? most - 1 : 0);
  if (!place) co_return stock.failed();
  std::unique_ptr<ReadyConnection> ready = co_await connect(stock);
  if (!ready) co_return stock.failed();
  ready->place = std::move(place);
  stock.add(std::move(ready), waiting_time(*stock.route()->warm, shard_.random));
}

// Null: it failed, which is told to those who pick; or its scope was cancelled.
iouring::Task<std::unique_ptr<ReadyConnection>> WarmPool::connect(WarmStock& stock) {
  iouring::CancelScope* const outer = co_await iouring::current_scope();
  iouring::CancelScope scope(outer);
  iouring::Deadline deadline(shard_.ring, scope);
  const milliseconds time = shard_.timeouts.connect;
  deadline.arm(time.count() > 0 ? time : kLongestConnect);
  auto made = co_await iouring::in_scope(scope, connect_and_open(stock));
  if (made) {
    note_connected(*stock.endpoint(), shard_.ring.now());
    co_return *std::move(made);
  }
  const Endpoint& endpoint = *stock.endpoint();
  if (made.error().tls) {
    note_opening_failed(shard_.balancer, *stock.route(), endpoint, shard_.ring.now());
    co_return nullptr;
  }
  int error = made.error().sys_errno;
  if (error == ECANCELED && deadline.expired()) error = ETIMEDOUT;
  if (error != ECANCELED && !is_our_own(error))
    note_connect_failed(shard_.balancer, *stock.route(), endpoint, error, shard_.ring.now());
  co_return nullptr;
}

iouring::Task<WarmPool::Made> WarmPool::connect_and_open(WarmStock& stock) {
  const Stock* const its = find(stock);
  if (its == nullptr) co_return std::unexpected(OpeningFailure{.sys_errno = ECANCELED});
  const BackendTerms terms{.route = stock.route(), .context = its->context};
  const auto first = terms.context ? iouring::FirstBytes::kAtOnce : iouring::FirstBytes::kLater;
  iouring::Result<iouring::Socket> socket =
      co_await iouring::connect(shard_.ring, stock.endpoint()->address, first);
  if (!socket) co_return std::unexpected(OpeningFailure{.sys_errno = socket.error().value});
  set_tcp_options(socket->descriptor());
  if (!terms.context) {
    auto ready = std::make_unique<ReadyConnection>();
    ready->records = ktls::plain_records(*std::move(socket), shard_.pools);
    co_return ready;
  }
  attach_kernel_tls(shard_, *socket);
  iouring::CancelScope* const scope = co_await iouring::current_scope();
  BackendCaller caller(shard_, cells_.route(terms.route->name), *scope);
  OpeningWait wait;
  auto opened = co_await shake_hands(caller, terms, *socket, *stock.endpoint(), wait);
  if (!opened) {
    const bool waited_for_us = opened.error().sys_errno == ECANCELED && wait.for_us;
    if (waited_for_us) opened.error().sys_errno = kOurOwn;
    co_return std::unexpected(std::move(opened.error()));
  }
  auto started = start_backend_tls(shard_, *std::move(socket), *std::move(opened));
  // With --records kernel, and a kernel that does not take them: a client would be refused.
  if (!started) co_return std::unexpected(OpeningFailure{.sys_errno = kOurOwn});
  co_return *std::move(started);
}

}  // namespace sallyport::gateway
