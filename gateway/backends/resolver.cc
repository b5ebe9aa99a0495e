#include "gateway/backends/resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "iouring/signals_masked.h"

namespace sallyport::gateway {
namespace {

using Clock = std::chrono::steady_clock;
using Addresses = std::expected<std::vector<iouring::SocketAddress>, std::string>;

Addresses look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;  // no IPv6 addresses on a host that has only IPv4
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) return std::unexpected(gai_strerror(error));
  std::vector<iouring::SocketAddress> addresses;
  for (const addrinfo* info = found; info; info = info->ai_next) {
    addresses.emplace_back(info->ai_addr, info->ai_addrlen);
  }
  freeaddrinfo(found);
  return addresses;
}

// Name servers rotate their answers: in a fixed order a rotation is no change.
void sort_unique(std::vector<iouring::SocketAddress>& addresses) {
  std::ranges::sort(addresses, {}, &iouring::SocketAddress::to_string);
  const auto repeated = std::ranges::unique(addresses);
  addresses.erase(repeated.begin(), repeated.end());
}

}  // namespace

// Shared with the threads, so that one that is stuck in a lookup may outlive the Resolver.
struct Resolver::State {
  struct Name {
    Clock::time_point due;
    bool looked_up = false;
  };
  struct Worker {
    std::thread thread;
    bool in_lookup = false;
  };

  State(Options given, std::function<void()> callback)
      : options(std::move(given)), on_change(std::move(callback)) {
    if (!options.lookup) options.lookup = look_up;
  }

  void work(Worker& self);
  void look_up_next(std::unique_lock<std::mutex>& lock, Worker& self);
  void store(const std::string& host, Addresses result);
  void announce(std::unique_lock<std::mutex>& lock);
  bool may_announce() const { return dirty && Clock::now() >= last_announced + options.batch; }
  bool all_looked_up() const {
    return std::ranges::all_of(names, [](const auto& name) { return name.second.looked_up; });
  }

  mutable std::mutex mutex;
  std::condition_variable work_to_do;
  mutable std::condition_variable first_done;
  Options options;
  std::function<void()> on_change;
  std::map<std::string, Name> names;
  std::set<std::pair<Clock::time_point, std::string>> queue;  // names not being looked up
  Resolutions latest;
  std::shared_ptr<const Resolutions> published;  // copy of latest; null: to be made when asked for
  bool dirty = false;                            // latest changed since the last announcement
  Clock::time_point last_announced{};
  bool stop = false;
  std::vector<std::unique_ptr<Worker>> workers;
};

void Resolver::State::work(Worker& self) {
  std::unique_lock lock(mutex);
  while (!stop) {
    if (may_announce()) {
      announce(lock);
    } else if (!queue.empty() && queue.begin()->first <= Clock::now()) {
      look_up_next(lock, self);
    } else if (queue.empty() && !dirty) {
      work_to_do.wait(lock);
    } else {
      auto next = dirty ? last_announced + options.batch : queue.begin()->first;
      if (!queue.empty()) next = std::min(next, queue.begin()->first);
      work_to_do.wait_until(lock, next);
    }
  }
}

void Resolver::State::look_up_next(std::unique_lock<std::mutex>& lock, Worker& self) {
  const std::string host = queue.begin()->second;
  queue.erase(queue.begin());
  self.in_lookup = true;
  lock.unlock();
  Addresses result = options.lookup(host);  // options do not change
  if (result) sort_unique(*result);
  lock.lock();
  self.in_lookup = false;
  if (stop) return;
  store(host, std::move(result));
}

void Resolver::State::store(const std::string& host, Addresses result) {
  const auto name = names.find(host);
  if (name == names.end()) return;  // no longer watched
  queue.erase({name->second.due, host});
  name->second.due = Clock::now() + options.interval;
  name->second.looked_up = true;
  queue.emplace(name->second.due, host);

  const auto [entry, fresh] = latest.try_emplace(host);
  Resolution& resolution = entry->second;
  std::string error;
  if (!result) {
    error = std::move(result.error());
  } else if (result->empty()) {
    error = "no addresses";
  }
  const bool moved = error.empty() && *result != resolution.addresses;
  if (fresh || moved || error != resolution.error) {
    dirty = true;
    published.reset();
  }
  if (moved) resolution.addresses = std::move(*result);
  resolution.error = std::move(error);
  if (all_looked_up()) first_done.notify_all();
}

void Resolver::State::announce(std::unique_lock<std::mutex>& lock) {
  dirty = false;
  last_announced = Clock::now();
  if (!on_change) return;
  lock.unlock();
  on_change();
  lock.lock();
}

Resolver::Resolver(Options options, std::function<void()> on_change)
    : state_(std::make_shared<State>(std::move(options), std::move(on_change))) {}

Resolver::~Resolver() {
  std::vector<bool> stuck;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
    state_->work_to_do.notify_all();
    for (const auto& worker : state_->workers) stuck.push_back(worker->in_lookup);
  }
  // Workers stay in the state, which a stuck thread keeps alive.
  for (std::size_t i = 0; i < state_->workers.size(); ++i) {
    std::thread& thread = state_->workers[i]->thread;
    if (stuck[i]) {
      thread.detach();
    } else {
      thread.join();
    }
  }
}

void Resolver::watch(const std::set<std::string>& names) {
  const std::lock_guard lock(state_->mutex);
  State& state = *state_;
  for (auto name = state.names.begin(); name != state.names.end();) {
    if (names.contains(name->first)) {
      ++name;
      continue;
    }
    state.queue.erase({name->second.due, name->first});
    if (state.latest.erase(name->first) > 0) state.published.reset();
    name = state.names.erase(name);
  }
  for (const std::string& host : names) {
    const auto [name, fresh] = state.names.try_emplace(host);
    // The clock's origin: before all that were looked up already.
    if (fresh) state.queue.emplace(name->second.due, host);
  }
  const iouring::SignalsMasked masked;  // signals belong to the control thread
  while (state.workers.size() < std::min<std::size_t>(state.options.threads, state.names.size())) {
    State::Worker& worker = *state.workers.emplace_back(std::make_unique<State::Worker>());
    worker.thread = std::thread([shared = state_, &worker] { shared->work(worker); });
  }
  state.work_to_do.notify_all();
}

std::shared_ptr<const Resolutions> Resolver::current() const {
  const std::lock_guard lock(state_->mutex);
  if (!state_->published) state_->published = std::make_shared<const Resolutions>(state_->latest);
  return state_->published;
}

bool Resolver::wait_for_first(std::chrono::milliseconds timeout) const {
  std::unique_lock lock(state_->mutex);
  return state_->first_done.wait_for(lock, timeout, [this] { return state_->all_looked_up(); });
}

}  // namespace sallyport::gateway
