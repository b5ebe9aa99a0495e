// The endpoints of one route, as one shard picks among them.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gateway/backends/balance.h"
#include "gateway/backends/endpoints.h"
#include "gateway/backends/pick_order.h"

namespace sallyport::gateway {

/// Counts and order of the picks of one route: what Balancer says, for one. Slots mirror the
/// endpoints of the current generation; each belongs to a group, of those in our zone or of the
/// others. `random` and `zone`, which is ours or empty, outlive it.
class RouteBalance {
 public:
  RouteBalance(std::mt19937_64& random, const std::string& zone);
  RouteBalance(const RouteBalance&) = delete;  // its groups point into it
  RouteBalance& operator=(const RouteBalance&) = delete;

  /// `endpoints` lives until the next call; null: the route is gone.
  void update(const RouteEndpoints* endpoints);
  std::optional<Pick> pick(const PickRules& rules, const Tried& tried, iouring::TimePoint now);
  /// See Balancer::set_warm().
  void set_warm(const std::shared_ptr<WarmStock>& stock);
  /// The connection of a Pick, to the endpoint of this id, has ended.
  void release(std::uint64_t id) noexcept;

  /// How many take new connections.
  std::size_t usable() const { return groups_[kNear].size() + groups_[kFar].size(); }
  std::size_t outstanding() const { return outstanding_; }
  std::size_t in_use(std::uint64_t id) const {
    const PickSlot* slot = find(id);
    return slot ? slot->in_use : 0;
  }

 private:
  // Endpoints that take new connections and are picked among.
  struct Group {
    explicit Group(std::vector<PickSlot>& slots) : order(slots) {}
    std::size_t size() const { return order.indexes().size() + passed_over.size(); }

    PickOrder order;
    std::vector<std::uint32_t> passed_over;  // were found not to be good: not in order
    iouring::TimePoint looked_at;            // when passed_over was
    bool looked = false;                     // by this pick
  };
  enum : std::uint8_t { kNear, kFar };  // all are near where no zone is preferred

  Group& near() { return groups_[kNear]; }
  Group& far() { return groups_[kFar]; }
  Group& group_of(const PickSlot& slot) { return groups_[slot.group]; }

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
    return most_per_endpoint_ > 0 && endpoint(slot).life->connections() >= most_per_endpoint_ &&
           !(slot.warm && slot.warm->any_ready());
  }
  bool good(const PickSlot& slot) const {
    return endpoint(slot).standing(time_) == Standing::kGood && !full(slot);
  }

  void build_groups();
  struct Place {
    PickSlot* slot = nullptr;  // null: there is none
    std::optional<WarmClaim> warm = {};
  };
  Place choose_with_room(const PickRules& rules, const Tried& tried);
  bool enter(Place& place) const;
  PickSlot* choose(const PickRules& rules, const Tried& tried);
  void look_at_passed_over(Group& group);
  PickSlot* trial(Group& group);
  void set_aside(PickSlot& slot);
  void grow(std::chrono::milliseconds slow_start);
  void restore(const PickSlot& slot);

  bool leaves_zone();
  double part_that_stays();

  PickSlot* best_good(Group& group, const Tried& tried);

  PickSlot* first(Group& group, const Tried& tried);
  PickSlot* best_by_identity(const Group& group, const Tried& tried);
  double score(const PickSlot& slot) const;  // for identity_
  bool outscored(const PickSlot& slot, const Group& among) const;
  bool goes_before(const PickSlot& a, const PickSlot& b) const;
  std::array<PickSlot*, 2> draw_two(const Group& group, const Tried& tried);
  PickSlot* better_of_two(const Group& group, const Tried& tried);
  PickSlot* best_passed_over(const PickRules& rules, const Tried& tried);

  std::mt19937_64& random_;
  const std::string& zone_;
  const RouteEndpoints* endpoints_ = nullptr;
  std::vector<PickSlot> slots_;  // sorted by id
  std::array<Group, 2> groups_{Group(slots_), Group(slots_)};
  std::vector<std::uint32_t> growing_;  // whose weight is not the whole
  bool find_growing_ = false;           // some may have to be added
  Balance method_ = Balance::kRoundRobin;
  bool prefers_zone_ = false;
  std::uint64_t zone_weight_ = 0;  // of all endpoints in it, where it is preferred
  double stays_ = 1;               // part_that_stays(), as of measured_at_
  std::optional<iouring::TimePoint> measured_at_;
  std::optional<std::uint64_t> identity_;  // of the last pick, where that chooses
  std::uint32_t most_per_endpoint_ = 0;    // likewise
  iouring::TimePoint time_;                // of the last pick
  iouring::TimePoint grown_at_;            // when growing_ was
  std::uint64_t next_pick_;
  std::size_t outstanding_ = 0;
};

}  // namespace sallyport::gateway
