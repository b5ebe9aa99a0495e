#include "gateway/run/checker.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gateway/backends/check_endpoint.h"
#include "gateway/backends/check_history.h"
#include "gateway/backends/proxy_header.h"
#include "gateway/connection/fair_slots.h"
#include "gateway/observe/log.h"
#include "gateway/run/due_groups.h"
#include "iouring/block_pool.h"
#include "iouring/buffer_ring.h"
#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "iouring/idle_worker.h"
#include "iouring/inbox.h"
#include "iouring/ring.h"
#include "iouring/signals_masked.h"
#include "iouring/spare_sockets.h"
#include "iouring/task_group.h"
#include "ktls/handshake/client_context.h"
#include "ktls/records/cipher_contexts.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// The first checks of endpoints that came together are spread over so long, but no longer than an
// interval.
constexpr milliseconds kFirstChecks{200};
constexpr std::chrono::microseconds kBetweenFirstChecks{500};
// What an interval is lengthened or shortened by, by chance.
constexpr double kJitter = 0.1;
// Those that are due within a hundredth of an interval are checked together, within these bounds:
// thousands wake the thread less often, and a check finds in the cache what the one before it used.
constexpr milliseconds kShortestTogether{10};
constexpr milliseconds kLongestTogether{50};
constexpr std::array kLocalHeader = local_proxy_header();

/// One endpoint that is checked: shared by the table, the groups of what is due and its check.
struct CheckedEndpoint {
  std::string route;
  std::shared_ptr<const Endpoint> endpoint;
  HealthCheck rule;
  bool end_when_down = false;
  bool proxy_header = false;  // the endpoint expects one
  std::optional<CheckTls> tls;
  CheckHistory history;
  bool counted_up = false;                // among those of its route
  iouring::TimePoint heard_before{};      // Thread::heard_at_ when its check began
  bool forgotten = false;                 // no further check is due
  iouring::CancelScope* scope = nullptr;  // of the check that is under way

  void forget() {
    forgotten = true;
    if (scope != nullptr) scope->cancel();
  }
};
using CheckedPtr = std::shared_ptr<CheckedEndpoint>;
using ContextPtr = std::shared_ptr<ktls::ClientContext>;

// What TLS needs beside the ring.
struct TlsParts {
  std::unique_ptr<iouring::IdleWorker> idle_worker;
  bool started = false;
  std::unique_ptr<iouring::BufferRing> small;
  std::unique_ptr<iouring::BufferRing> whole;
  std::unique_ptr<iouring::BlockPool> blocks;
  ktls::CipherContexts contexts;
  std::optional<ktls::RecordPools> pools;
};

milliseconds part_of(milliseconds time, double part) {
  return std::chrono::duration_cast<milliseconds>(time * part);
}

// From 0 to 1, evenly, and the same at each start.
double place_of(const CheckedEndpoint& checked) {
  const std::size_t hash =
      std::hash<std::string>()(checked.route + " " + checked.endpoint->address.to_string());
  return static_cast<double>(hash % 10'007) / 10'007;
}

bool any_checked(const Snapshot& snapshot) {
  return std::ranges::any_of(snapshot.policy->routes(), [](const Route& route) {
    return route.endpoint_rules.health.has_value();
  });
}

// Keeps the loop running while nothing is checked.
iouring::Task<void> stay_until_cancelled(iouring::Ring& ring) {
  while (true) {
    iouring::Result<> slept = co_await iouring::sleep_for(ring, std::chrono::hours(1));
    if (!slept) co_return;
  }
}

bool is_up(const CheckedEndpoint& checked) {
  return checked.history.state() == Checked::kUp && checked.endpoint->takes_new_connections();
}

template <class T>
void prefetch(const T& object) {
  constexpr std::size_t kLine = 64;
  const auto* const bytes = reinterpret_cast<const std::byte*>(&object);
  for (std::size_t at = 0; at < sizeof object; at += kLine) __builtin_prefetch(bytes + at);
}

// An endpoint was last looked at an interval ago: one behind the other, each check would wait for
// memory several times.
void prefetch(std::span<const CheckedPtr> due) {
  for (const CheckedPtr& checked : due) prefetch(*checked);
  for (const CheckedPtr& checked : due) prefetch(*checked->endpoint);
  for (const CheckedPtr& checked : due) prefetch(*checked->endpoint->life);
}

// Endpoints that are not yet checked wait as soon as another of their route is up.
void tell(RouteLife& route, std::size_t up) {
  route.any_up.store(up > 0, std::memory_order_relaxed);
}

iouring::Task<void> wait_for_checks(iouring::TaskGroup& tasks) {
  co_await tasks.join();
}

}  // namespace

class Checker::Thread {
 public:
  static std::unique_ptr<Thread> start(unsigned most, const std::function<void()>& on_down);
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  void serve(std::shared_ptr<const Snapshot> snapshot, BackendContexts contexts) {
    inbox_->post([this, snapshot = std::move(snapshot), contexts = std::move(contexts)] {
      update(*snapshot, *contexts);
    });
  }

 private:
  explicit Thread(const std::function<void()>& on_down) : on_down_(on_down) {}
  [[nodiscard]] iouring::Result<> make_tls_tools();
  void run();
  void stop();
  void update(const Snapshot& snapshot, const std::vector<ContextPtr>& contexts);
  void keep(const Route& route, const std::optional<CheckTls>& tls,
            const std::shared_ptr<const Endpoint>& endpoint, std::vector<CheckedPtr>& fresh);
  void start_idle_worker();
  static void forget(CheckedEndpoint& checked);
  void note(CheckedEndpoint& checked, const CheckOutcome& outcome);
  static void log_change(const CheckedEndpoint& checked, Checked before,
                         const CheckOutcome& outcome);
  void note_silence(const CheckedEndpoint& checked);
  void count_all_up();
  void count_up(CheckedEndpoint& checked);
  void begin_due();
  iouring::Task<void> check_once(CheckedPtr checked);
  iouring::Task<CheckOutcome> check(CheckedEndpoint& checked);
  milliseconds jittered(milliseconds interval);
  void check_again(CheckedPtr checked, milliseconds after);

  /// Wakes the thread for what is due first.
  class Wake final : private iouring::Timer {
   public:
    explicit Wake(Thread& thread) : thread_(&thread) {}
    void set(iouring::TimePoint when) { thread_->ring_->timers().arm(*this, when); }

   private:
    void on_expiry() noexcept override { thread_->begin_due(); }
    Thread* thread_;
  };

  // Members of the thread, but for the inbox's post().
  const std::function<void()>& on_down_;
  std::unique_ptr<iouring::Ring> ring_;
  std::unique_ptr<iouring::Inbox> inbox_;
  std::optional<FairSlots> slots_;
  std::optional<iouring::SpareSockets> sockets_;
  TlsParts tls_;
  std::optional<iouring::TaskGroup> tasks_;
  DueGroups<CheckedPtr> due_;
  std::optional<Wake> wake_;
  std::unordered_map<const EndpointLife*, CheckedPtr> checked_;
  std::unordered_map<RouteLife*, std::size_t> up_;  // of the endpoints that are checked
  iouring::TimePoint heard_at_{};                   // the last answer over the network
  bool network_silent_ = false;                     // as logged
  std::mt19937_64 random_{std::random_device()()};
  std::thread thread_;
};

std::unique_ptr<Checker::Thread> Checker::Thread::start(unsigned most,
                                                        const std::function<void()>& on_down) {
  std::unique_ptr<Thread> thread(new Thread(on_down));
  auto ring = iouring::Ring::create(
      {.entries = 256, .completion_entries = 4096, .use = iouring::RingUse::kConnect});
  if (!ring) {
    log_error("no io_uring for checks of endpoints", {{"error", ring.error().what}});
    return nullptr;
  }
  thread->ring_ = *std::move(ring);
  auto inbox = iouring::Inbox::create(*thread->ring_);
  if (!inbox) {
    log_error("no eventfd for checks of endpoints", {{"error", inbox.error().name()}});
    return nullptr;
  }
  thread->inbox_ = *std::move(inbox);
  if (const auto made = thread->make_tls_tools(); !made) {
    log_error("no buffers for checks of endpoints", {{"error", made.error().name()}});
    return nullptr;
  }
  // A quarter of the sockets stays from one check to another: enough for most groups.
  thread->slots_.emplace(*thread->ring_, most - most / 4);
  thread->sockets_.emplace(*thread->ring_, most / 4);
  thread->tasks_.emplace(*thread->ring_);
  thread->wake_.emplace(*thread);
  const iouring::SignalsMasked masked;  // signals belong to the control thread
  thread->thread_ = std::thread([&self = *thread] { self.run(); });
  return thread;
}

iouring::Result<> Checker::Thread::make_tls_tools() {
  auto idle_worker = iouring::IdleWorker::create(*ring_, {});
  if (!idle_worker) return iouring::failure(idle_worker.error().value);
  auto small = iouring::BufferRing::create(*ring_);
  if (!small) return iouring::failure(small.error().value);
  auto whole = iouring::BufferRing::create(*ring_, ktls::kWholeBytes, ktls::kWholeCount);
  if (!whole) return iouring::failure(whole.error().value);
  tls_.idle_worker = *std::move(idle_worker);
  tls_.small = *std::move(small);
  tls_.whole = *std::move(whole);
  tls_.blocks = std::make_unique<iouring::BlockPool>(ring_->timers());
  tls_.pools.emplace(ktls::RecordPools{.small = *tls_.small,
                                       .whole = *tls_.whole,
                                       .blocks = *tls_.blocks,
                                       .contexts = tls_.contexts});
  return {};
}

Checker::Thread::~Thread() {
  if (!thread_.joinable()) return;
  inbox_->post([this] { stop(); });
  thread_.join();
}

// Nothing begins any more, also not while the loop comes to its end.
void Checker::Thread::stop() {
  wake_.reset();
  tasks_->cancel_all();
}

void Checker::Thread::run() {
  pthread_setname_np(pthread_self(), "checker");
  tasks_->spawn(stay_until_cancelled(*ring_));
  ring_->run(wait_for_checks(*tasks_));
  tls_.idle_worker->stop();
}

// On first use. Without it handshakes are this thread's, one at a time between its other work.
void Checker::Thread::start_idle_worker() {
  if (std::exchange(tls_.started, true)) return;
  const iouring::Result<> started = tls_.idle_worker->start("check-tls");
  if (started) return;
  log_info(
      "handshakes of checks run in their event loop: a thread for them needs an RLIMIT_NICE "
      "of 20",
      {{"error", started.error().name()}});
}

void Checker::Thread::update(const Snapshot& snapshot, const std::vector<ContextPtr>& contexts) {
  std::unordered_map<const EndpointLife*, CheckedPtr> before = std::move(checked_);
  checked_.clear();
  std::vector<CheckedPtr> fresh;
  const std::span<const Route> routes = snapshot.policy->routes();
  for (std::size_t i = 0; i < routes.size(); ++i) {
    const Route& route = routes[i];
    const RouteEndpoints* const endpoints = snapshot.endpoints->find(route.name);
    if (!route.endpoint_rules.health || endpoints == nullptr) continue;
    std::optional<CheckTls> tls;
    if (route.backend_tls) {
      start_idle_worker();
      tls = {.context = contexts[i], .route = {snapshot.policy, &route}};
    }
    for (const auto& endpoint : endpoints->endpoints) {
      const auto known = before.find(endpoint->life.get());
      if (known != before.end()) {
        checked_.emplace(endpoint->life.get(), std::move(known->second));
        before.erase(known);
      }
      keep(route, tls, endpoint, fresh);
    }
  }
  for (const auto& [life, checked] : before) forget(*checked);
  const auto spread = std::max(
      kFirstChecks, std::chrono::duration_cast<milliseconds>(kBetweenFirstChecks * fresh.size()));
  for (const CheckedPtr& checked : fresh)
    check_again(checked, part_of(std::min(spread, checked->rule.interval), place_of(*checked)));
  count_all_up();
}

// What is checked by the same rule goes on; by another it is one of its own, and knows what was
// known.
void Checker::Thread::keep(const Route& route, const std::optional<CheckTls>& tls,
                           const std::shared_ptr<const Endpoint>& endpoint,
                           std::vector<CheckedPtr>& fresh) {
  CheckedPtr& checked = checked_[endpoint->life.get()];
  const HealthCheck& rule = *route.endpoint_rules.health;
  if (!checked || checked->rule != rule) {
    auto next = std::make_shared<CheckedEndpoint>();
    if (checked) {
      next->history = checked->history;
      checked->forget();
    }
    checked = std::move(next);
    checked->rule = rule;
    fresh.push_back(checked);
  }
  checked->route = route.name;
  checked->endpoint = endpoint;
  checked->end_when_down = route.endpoint_rules.end_when_down;
  checked->proxy_header = route.proxy.has_value();
  checked->tls = tls;
}

void Checker::Thread::forget(CheckedEndpoint& checked) {
  checked.forget();
  checked.endpoint->life->set_checked(Checked::kUnknown, {});
  tell(*checked.endpoint->route_life, 0);
}

void Checker::Thread::count_all_up() {
  up_.clear();
  for (const auto& [life, checked] : checked_) {
    checked->counted_up = is_up(*checked);
    up_[checked->endpoint->route_life.get()] += checked->counted_up ? 1 : 0;
  }
  for (const auto& [route, up] : up_) tell(*route, up);
}

void Checker::Thread::count_up(CheckedEndpoint& checked) {
  const bool up = is_up(checked);
  if (std::exchange(checked.counted_up, up) == up) return;
  RouteLife* const route = checked.endpoint->route_life.get();
  std::size_t& of_route = up_[route];
  of_route = up ? of_route + 1 : of_route - 1;
  tell(*route, of_route);
}

void Checker::Thread::check_again(CheckedPtr checked, milliseconds after) {
  const auto together =
      std::clamp(checked->rule.interval / 100, kShortestTogether, kLongestTogether);
  const auto first = due_.next();
  due_.add(std::move(checked), ring_->now() + after, together);
  if (due_.next() != first) wake_->set(*due_.next());
}

void Checker::Thread::begin_due() {
  std::vector<CheckedPtr> due = due_.take(ring_->now());
  prefetch(std::span<const CheckedPtr>(due));
  for (CheckedPtr& checked : due) {
    if (checked->forgotten) continue;
    CheckedEndpoint& begins = *checked;
    begins.scope = &tasks_->spawn(check_once(std::move(checked)));
  }
  if (const auto next = due_.next()) wake_->set(*next);
}

iouring::Task<void> Checker::Thread::check_once(CheckedPtr checked) {
  iouring::CancelScope* const scope = co_await iouring::current_scope();
  const CheckOutcome outcome = co_await check(*checked);
  checked->scope = nullptr;
  if (scope->cancelled()) co_return;
  note(*checked, outcome);
  check_again(checked, jittered(checked->rule.interval));
}

// When a slot is free; nothing is known of one whose scope is cancelled before.
iouring::Task<CheckOutcome> Checker::Thread::check(CheckedEndpoint& checked) {
  const auto route = reinterpret_cast<std::uintptr_t>(checked.endpoint->route_life.get());
  const iouring::Result<FairSlots::Slot> slot = co_await slots_->enter(route);
  if (!slot) co_return CheckOutcome{};
  checked.heard_before = heard_at_;
  const std::shared_ptr<const Endpoint> endpoint = checked.endpoint;
  const std::optional<CheckTls> tls = checked.tls;
  CheckOpening opening;
  if (checked.proxy_header) opening.header = kLocalHeader;
  if (tls) opening.tls = &*tls;
  const CheckTools tools{.sockets = *sockets_,
                         .tls = {.idle_worker = *tls_.idle_worker, .pools = *tls_.pools}};
  CheckOutcome outcome = co_await check_endpoint(tools, checked.rule, *endpoint, opening);
  co_return outcome;
}

milliseconds Checker::Thread::jittered(milliseconds interval) {
  std::uniform_real_distribution<double> jitter(1 - kJitter, 1 + kJitter);
  return part_of(interval, jitter(random_));
}

void Checker::Thread::note(CheckedEndpoint& checked, const CheckOutcome& outcome) {
  const auto now = ring_->now();
  const bool in_network = !checked.endpoint->address.is_loopback();
  const Checked before = checked.history.state();
  const Checked after =
      checked.history.note(checked.rule, outcome, now, in_network, checked.heard_before);
  if (outcome.heard && in_network) {
    heard_at_ = now;
    if (std::exchange(network_silent_, false)) log_info("checks are answered again");
  }
  EndpointLife& life = *checked.endpoint->life;
  const bool tells = outcome.result != CheckResult::kUnknown && !checked.history.withheld();
  life.count_check(outcome.result, tells, now);
  const bool no_answer_meanwhile = heard_at_ == checked.heard_before;
  if (checked.history.withheld() && no_answer_meanwhile) note_silence(checked);
  if (after == before) return;
  life.set_checked(after, now);
  count_up(checked);
  log_change(checked, before, outcome);
  if (after == Checked::kDown && checked.end_when_down) on_down_();
}

void Checker::Thread::note_silence(const CheckedEndpoint& checked) {
  if (std::exchange(network_silent_, true)) return;
  log_warning("no check is answered over the network: endpoints keep their state",
              {{"route", checked.route}, {"backend", checked.endpoint->target}});
}

void Checker::Thread::log_change(const CheckedEndpoint& checked, Checked before,
                                 const CheckOutcome& outcome) {
  const std::string address = checked.endpoint->address.to_string();
  if (checked.history.state() == Checked::kDown) {
    log_warning("endpoint is down", {{"route", checked.route},
                                     {"backend", checked.endpoint->target},
                                     {"address", address},
                                     {"error", outcome.why}});
  } else if (before == Checked::kDown) {
    log_info(
        "endpoint is up",
        {{"route", checked.route}, {"backend", checked.endpoint->target}, {"address", address}});
  }
}

Checker::Checker(unsigned most, std::function<void()> on_down)
    : most_(most), on_down_(std::move(on_down)) {}

Checker::~Checker() = default;

void Checker::serve(const std::shared_ptr<const Snapshot>& snapshot,
                    const BackendContexts& contexts) {
  if (!thread_ && !any_checked(*snapshot)) return;
  if (!thread_) thread_ = Thread::start(most_, on_down_);
  if (thread_) thread_->serve(snapshot, contexts);
}

}  // namespace sallyport::gateway
