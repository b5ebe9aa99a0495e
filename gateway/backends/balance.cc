#include "gateway/backends/balance.h"

#include <algorithm>
#include <utility>

#include "gateway/backends/ejection.h"
#include "gateway/backends/route_balance.h"
#include "iouring/invariant.h"

namespace sallyport::gateway {

InUse::InUse(InUse&& other) noexcept
    : route_(std::exchange(other.route_, nullptr)), endpoint_(std::move(other.endpoint_)) {}

InUse& InUse::operator=(InUse&& other) noexcept {
  if (this == &other) return *this;
  release();
  route_ = std::exchange(other.route_, nullptr);
  endpoint_ = std::move(other.endpoint_);
  return *this;
}

void InUse::release() noexcept {
  RouteBalance* const route = std::exchange(route_, nullptr);
  if (!route) return;
  const std::shared_ptr<const Endpoint> endpoint = std::move(endpoint_);
  endpoint->life->leave();
  route->release(endpoint->id);
}

Balancer::Balancer(std::uint64_t seed) : random_(seed) {}

void Balancer::prefer(std::string zone) {
  iouring::invariant(routes_.empty(), "no route knows another zone");
  zone_ = std::move(zone);
}

Balancer::~Balancer() {
  for (const auto& [name, route] : routes_) {
    iouring::invariant(route->outstanding() == 0, "no connection outlives its balancer",
                       static_cast<long long>(route->outstanding()), 0);
  }
}

void Balancer::update(EndpointSet::Pointer endpoints) {
  for (auto route = routes_.begin(); route != routes_.end();) {
    const RouteEndpoints* found = endpoints ? endpoints->find(route->first) : nullptr;
    route->second->update(found);
    const bool forget = !found && route->second->outstanding() == 0;
    route = forget ? routes_.erase(route) : std::next(route);
  }
  endpoints_ = std::move(endpoints);
}

RouteBalance* Balancer::current(std::string_view name) {
  if (const auto known = routes_.find(name); known != routes_.end()) return known->second.get();
  const RouteEndpoints* found = endpoints_ ? endpoints_->find(name) : nullptr;
  if (!found) return nullptr;
  auto route = std::make_unique<RouteBalance>(random_, zone_);
  route->update(found);
  return routes_.emplace(name, std::move(route)).first->second.get();
}

std::optional<Pick> Balancer::pick(std::string_view route, const PickRules& rules,
                                   const Tried& tried, iouring::TimePoint now) {
  RouteBalance* balance = current(route);
  if (!balance) return std::nullopt;
  return balance->pick(rules, tried, now);
}

void Balancer::set_warm(std::string_view route, const std::shared_ptr<WarmStock>& stock) {
  if (RouteBalance* const balance = current(route)) balance->set_warm(stock);
}

void Balancer::eject_if_due(const Route& route, const Endpoint& endpoint, unsigned failures,
                            iouring::TimePoint now) {
  const auto& rule = route.endpoint_rules.ejection;
  if (!rule || failures < rule->failures) return;
  const RouteEndpoints* const endpoints = endpoints_ ? endpoints_->find(route.name) : nullptr;
  if (!endpoints) return;
  const double chance = std::uniform_real_distribution<double>()(random_);
  gateway::eject_if_due(*endpoints, endpoint, failures, *rule, now, chance);
}

bool Balancer::any_full(std::string_view name, const PickRules& rules) const {
  const RouteEndpoints* const route = endpoints_ ? endpoints_->find(name) : nullptr;
  if (!route || rules.most_per_endpoint == 0) return false;
  return std::ranges::any_of(route->endpoints, [&](const auto& endpoint) {
    return endpoint->takes_new_connections() &&
           endpoint->life->connections() >= rules.most_per_endpoint;
  });
}

std::size_t Balancer::usable(std::string_view route) {
  const RouteBalance* balance = current(route);
  return balance ? balance->usable() : 0;
}

std::size_t Balancer::in_use(std::string_view route, std::uint64_t endpoint_id) const {
  const auto known = routes_.find(route);
  return known == routes_.end() ? 0 : known->second->in_use(endpoint_id);
}

}  // namespace sallyport::gateway
