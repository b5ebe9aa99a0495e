#include "gateway/run/publisher.h"

#include <algorithm>
#include <utility>

#include "gateway/run/snapshot_metrics.h"

namespace sallyport::gateway {

std::expected<void, std::string> Publisher::publish() {
  const std::shared_ptr<const Snapshot> next = next_snapshot();
  const auto credentials = next->all_credentials();
  // First, since these are handed out at each call, and those for clients only when they are new.
  const auto of_backends = backend_contexts_.renew(*next->policy, credentials);
  if (!of_backends) return std::unexpected(of_backends.error());
  const auto contexts = contexts_.renew(for_clients(*next->policy, credentials));
  if (!contexts) return std::unexpected(contexts.error());
  if (const auto before = snapshot()) retire(*before, *next);
  put_in_force(next);
  set_snapshot_metrics(registry_, *next);
  shards_.serve(next, *contexts, *of_backends);
  checker_.serve(next, of_backends->back());
  return {};
}

std::shared_ptr<const Snapshot> Publisher::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

std::shared_ptr<const Snapshot> Publisher::next_snapshot() const {
  const auto previous = snapshot();
  const auto named = config_.named_credentials();
  const bool same =
      previous && previous->credentials == config_.credentials() && previous->named == named;
  return std::make_shared<const Snapshot>(Snapshot{
      .generation = previous ? previous->generation + 1 : 1,
      .credentials_since = same ? previous->credentials_since : std::chrono::system_clock::now(),
      .credentials = config_.credentials(),
      .named = named,
      .policy = config_.policy(),
      .endpoints = EndpointSet::build(config_.discovery(), *resolver_.current(),
                                      previous ? previous->endpoints.get() : nullptr,
                                      std::chrono::steady_clock::now())});
}

void Publisher::retire(const Snapshot& before, const Snapshot& next) {
  const auto stay = next.all_credentials();
  for (const auto& credentials : before.all_credentials()) {
    if (std::ranges::find(stay, credentials) == stay.end()) retired_.add(credentials);
  }
  if (before.policy != next.policy) retired_.add(before.policy);
  if (before.endpoints != next.endpoints) retired_.add(before.endpoints);
}

void Publisher::set_refused(std::optional<std::string> why) {
  const std::lock_guard lock(mutex_);
  refused_ = std::move(why);
}

std::optional<std::string> Publisher::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

void Publisher::set_discovery(DiscoveryView view) {
  auto next = std::make_shared<const DiscoveryView>(std::move(view));
  const std::lock_guard lock(mutex_);
  discovery_.swap(next);
}

std::shared_ptr<const DiscoveryView> Publisher::discovery() const {
  const std::lock_guard lock(mutex_);
  return discovery_;
}

// Under one lock with the metrics: an endpoint that is forgotten counts once in each scrape.
void Publisher::put_in_force(const std::shared_ptr<const Snapshot>& next) {
  const auto now = std::chrono::steady_clock::now();
  next->endpoints->mark_leaving(now);
  const std::lock_guard lock(mutex_);
  const EndpointSet* const before = snapshot_ ? snapshot_->endpoints.get() : nullptr;
  forget_backend_metrics(registry_, gone_.take_over(before, *next->endpoints, now));
  snapshot_ = next;
}

Publisher::Published Publisher::published() const {
  const std::lock_guard lock(mutex_);
  return {snapshot_, gone_.list()};
}

void Publisher::show_backends() const {
  const std::lock_guard lock(mutex_);
  set_backend_metrics(registry_, *snapshot_, gone_.list());
}

}  // namespace sallyport::gateway
