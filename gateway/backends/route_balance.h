// The endpoints of one route, as one shard picks among them.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "gateway/backends/balance.h"
#include "gateway/backends/endpoints.h"
#include "gateway/backends/pick_order.h"

namespace sallyport::gateway {

/// Counts and order of the picks of one route: what Balancer says, for one. Slots mirror the
/// endpoints of the current generation; those that take new connections are in `order_`, or were
/// found not to be good. `random` outlives it.
class RouteBalance {
 public:
  explicit RouteBalance(std::mt19937_64& random);
  RouteBalance(const RouteBalance&) = delete;  // order_ points into it
  RouteBalance& operator=(const RouteBalance&) = delete;

  /// `endpoints` lives until the next call; null: the route is gone.
  void update(const RouteEndpoints* endpoints);
  std::optional<Pick> pick(const PickRules& rules, const Tried& tried, iouring::TimePoint now);
  /// The connection of a Pick, to the endpoint of this id, has ended.
  void release(std::uint64_t id) noexcept;

  std::size_t usable() const { return order_.indexes().size() + passed_over_.size(); }
  std::size_t outstanding() const { return outstanding_; }
  std::size_t in_use(std::uint64_t id) const {
    const PickSlot* slot = find(id);
    return slot ? slot->in_use : 0;
  }

 private:
  const PickSlot* find(std::uint64_t id) const;
  PickSlot* find(std::uint64_t id) { return const_cast<PickSlot*>(std::as_const(*this).find(id)); }
  std::uint32_t draw(std::size_t count);

  const Endpoint& endpoint(const PickSlot& slot) const {
    return *endpoints_->endpoints[index(slot)];
  }
  std::uint32_t index(const PickSlot& slot) const {
    return static_cast<std::uint32_t>(&slot - slots_.data());
  }
  bool full(const PickSlot& slot) const {
    return most_per_endpoint_ > 0 && endpoint(slot).life->connections() >= most_per_endpoint_;
  }
  bool good(const PickSlot& slot) const {
    return endpoint(slot).standing(time_) == Standing::kGood && !full(slot);
  }

  void build_order();
  PickSlot* choose_with_room(const PickRules& rules, const Tried& tried);
  PickSlot* choose(const PickRules& rules, const Tried& tried);
  PickSlot* best_good(const Tried& tried);
  PickSlot* trial();
  void take_back_good();
  void set_aside(PickSlot& slot);
  void grow(std::chrono::milliseconds slow_start);

  PickSlot* first(const Tried& tried);
  PickSlot* best_by_identity(const Tried& tried);
  double score(const PickSlot& slot) const;  // for identity_
  bool outscored(const PickSlot& slot) const;
  bool goes_before(const PickSlot& a, const PickSlot& b) const;
  std::array<PickSlot*, 2> draw_two(const Tried& tried);
  PickSlot* better_of_two(const Tried& tried);
  PickSlot* best_passed_over(const PickRules& rules, const Tried& tried);

  std::mt19937_64& random_;
  const RouteEndpoints* endpoints_ = nullptr;
  std::vector<PickSlot> slots_;  // sorted by id
  PickOrder order_{slots_};
  // Those that take new connections and were found not to be good: not in order_.
  std::vector<std::uint32_t> passed_over_;
  std::vector<std::uint32_t> growing_;  // whose weight is not the whole
  bool find_growing_ = false;           // some may have to be added
  Balance method_ = Balance::kRoundRobin;
  std::optional<std::uint64_t> identity_;  // of the last pick, where that chooses
  std::uint32_t most_per_endpoint_ = 0;    // likewise
  iouring::TimePoint time_;                // of the last pick
  iouring::TimePoint grown_at_;            // when growing_ was
  iouring::TimePoint looked_at_;           // when passed_over_ was
  std::uint64_t next_pick_;
  std::size_t outstanding_ = 0;
};

}  // namespace sallyport::gateway
