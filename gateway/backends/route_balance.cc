#include "gateway/backends/route_balance.h"

#include <algorithm>
#include <utility>

#include "gateway/backends/rendezvous.h"
#include "iouring/invariant.h"

namespace sallyport::gateway {
namespace {

// The number of the first pick. Endpoints that were never picked have a random number below it.
constexpr std::uint64_t kFirstPick = std::uint64_t{1} << 32;
constexpr int kDraws = 16;
// Weights are counted in parts, so that one that starts slowly can have a part of the smallest.
constexpr std::uint32_t kPartsOfWeight = 16;
// More endpoints than these that are not good are looked at now and then, not at each pick.
constexpr std::size_t kFew = 16;
constexpr std::chrono::milliseconds kLookEvery{10};
// Our zone takes all connections while this part of its weight is good.
constexpr double kEnoughOfZone = 0.7;

bool contains(const Tried& tried, std::uint64_t id) {
  return std::ranges::find(tried, id) != tried.end();
}

}  // namespace

RouteBalance::RouteBalance(std::mt19937_64& random, const std::string& zone)
    : random_(random), zone_(zone), next_pick_(kFirstPick) {}

void RouteBalance::update(const RouteEndpoints* endpoints) {
  endpoints_ = endpoints;
  std::vector<PickSlot> before_update = std::exchange(slots_, {});
  if (endpoints) slots_.reserve(endpoints->weights.size());
  auto old = before_update.begin();
  for (std::size_t i = 0; endpoints && i < endpoints->weights.size(); ++i) {
    const RouteEndpoints::EndpointWeight& each = endpoints->weights[i];
    while (old != before_update.end() && old->id < each.id) ++old;
    const bool known = old != before_update.end() && old->id == each.id;
    PickSlot slot = known ? *old : PickSlot{.id = each.id, .last_pick = draw(kFirstPick)};
    slot.hash = each.hash;
    slot.weight = each.weight * kPartsOfWeight;
    if (slot.full_weight != each.weight) slot.group = PickSlot::kNoGroup;
    slot.full_weight = each.weight;
    slot.place = PickSlot::kNowhere;
    slots_.push_back(slot);
  }
  build_groups();
}

void RouteBalance::build_groups() {
  for (Group& group : groups_) {
    group.order.restart(method_);
    group.passed_over.clear();  // those that still are not good are found again
  }
  growing_.clear();
  find_growing_ = true;
  measured_at_.reset();
  zone_weight_ = 0;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    PickSlot& slot = slots_[i];
    const bool is_near = !prefers_zone_ || endpoint(slot).labels->zone == zone_;
    if (prefers_zone_ && is_near) zone_weight_ += endpoint(slot).weight();
    if (slot.weight == 0) continue;
    const std::uint8_t group = is_near ? kNear : kFar;
    if (std::exchange(slot.group, group) != group) group_of(slot).order.start_afresh(slot);
    group_of(slot).order.append(i);
  }
  for (Group& group : groups_) group.order.heapify();
}

std::optional<Pick> RouteBalance::pick(const PickRules& rules, const Tried& tried,
                                       iouring::TimePoint now) {
  time_ = now;
  const bool prefers_zone = rules.prefer_zone && !zone_.empty();
  if (rules.method != method_ || prefers_zone != prefers_zone_) {
    method_ = rules.method;
    prefers_zone_ = prefers_zone;
    build_groups();
  }
  identity_ = method_ == Balance::kHashIdentity ? rules.identity : std::nullopt;
  most_per_endpoint_ = rules.most_per_endpoint;
  auto [slot, warm] = choose_with_room(rules, tried);
  if (!slot) return std::nullopt;
  if (tried.empty() && !identity_) {
    group_of(*slot).order.take_turn(*slot);
    slot->last_pick = next_pick_++;
  }
  slot->in_use += 1;
  outstanding_ += 1;
  restore(*slot);
  const std::shared_ptr<const Endpoint>& picked = endpoints_->endpoints[index(*slot)];
  return Pick{picked, InUse(this, picked), std::move(warm)};
}

// Other shards fill an endpoint, too: one that is full by the time it is entered is not taken.
RouteBalance::Place RouteBalance::choose_with_room(const PickRules& rules, const Tried& tried) {
  Place place{.slot = choose(rules, tried)};
  if (!place.slot || enter(place)) return place;
  Tried passed_by = tried;
  do {
    passed_by.push_back(place.slot->id);
    place.slot = choose(rules, passed_by);
  } while (place.slot && !enter(place));
  return place;
}

// A connection that is ready has its place there. For want of a good endpoint none is used: what it
// was made to may be what is not good.
bool RouteBalance::enter(Place& place) const {
  const Endpoint& its = endpoint(*place.slot);
  if (place.slot->warm && its.standing(time_) == Standing::kGood)
    place.warm = place.slot->warm->claim();
  return place.warm || its.life->enter(most_per_endpoint_);
}

void RouteBalance::set_warm(const std::shared_ptr<WarmStock>& stock) {
  if (PickSlot* const slot = find(stock->endpoint()->id)) slot->warm = stock;
}

PickSlot* RouteBalance::choose(const PickRules& rules, const Tried& tried) {
  for (Group& group : groups_) look_at_passed_over(group);
  if (find_growing_ || (!growing_.empty() && time_ - grown_at_ >= kLookEvery))
    grow(rules.slow_start);
  const bool leaves = leaves_zone();
  // A connection that goes on from a failed endpoint has waited enough: it makes no trial.
  if (tried.empty()) {
    if (PickSlot* const slot = trial(near())) return slot;
    if (PickSlot* const slot = leaves ? trial(far()) : nullptr) return slot;
  }
  if (PickSlot* const slot = best_good(leaves ? far() : near(), tried)) return slot;
  if (PickSlot* const slot = best_good(leaves ? near() : far(), tried)) return slot;
  return best_passed_over(rules, tried);
}

// What is good again goes on like a new endpoint, without a backlog of picks.
void RouteBalance::look_at_passed_over(Group& group) {
  const std::size_t count = group.passed_over.size();
  group.looked = count > 0 && (count <= kFew || time_ - group.looked_at >= kLookEvery);
  if (!group.looked) return;
  group.looked_at = time_;
  std::erase_if(group.passed_over, [&](std::uint32_t index) {
    PickSlot& slot = slots_[index];
    if (!good(slot)) return false;
    group.order.catch_up(slot);
    group.order.insert(index);
    find_growing_ = true;
    return true;
  });
}

// One whose address failed and that this connection is to try again; null: none. What an identity
// chooses is tried by one that would have it, or others would get where they do not belong.
PickSlot* RouteBalance::trial(Group& group) {
  if (!group.looked) return nullptr;
  for (const std::uint32_t index : group.passed_over) {
    PickSlot& slot = slots_[index];
    const Endpoint& its = endpoint(slot);
    const bool due = its.standing(time_) == Standing::kFailing && !its.health->avoided(time_);
    if (!due || full(slot) || (identity_ && outscored(slot, group))) continue;
    if (its.health->claim_trial(time_)) return &slot;
  }
  return nullptr;
}

void RouteBalance::set_aside(PickSlot& slot) {
  group_of(slot).passed_over.push_back(index(slot));
  group_of(slot).order.remove(slot);
}

// Whether this connection is to go to another zone than ours.
bool RouteBalance::leaves_zone() {
  if (!prefers_zone_ || far().order.empty()) return false;
  if (!measured_at_ || time_ - *measured_at_ >= kLookEvery) {
    measured_at_ = time_;
    stays_ = part_that_stays();
  }
  if (stays_ >= 1) return false;
  return unit_interval(identity_ ? mix(*identity_) : random_()) > stays_;
}

// Of the connections, by what our zone can carry now; 1 or more: all.
double RouteBalance::part_that_stays() {
  std::uint64_t good_parts = 0;
  for (PickSlot& slot : slots_) {
    if (slot.group != kNear || slot.place == PickSlot::kNowhere) continue;
    if (good(slot)) {
      good_parts += slot.weight;
    } else {
      set_aside(slot);
    }
  }
  const auto whole = static_cast<double>(zone_weight_ * kPartsOfWeight);
  return whole > 0 ? static_cast<double>(good_parts) / (whole * kEnoughOfZone) : 0;
}

// Of the best standing there is, the one that goes before the others.
PickSlot* RouteBalance::best_passed_over(const PickRules& rules, const Tried& tried) {
  const Standing worst =
      rules.when_none_healthy == WhenNoneHealthy::kRefuse ? Standing::kUnchecked : Standing::kDown;
  PickSlot* found = nullptr;
  Standing its = worst;
  for (const Group& group : groups_) {
    for (const std::uint32_t index : group.passed_over) {
      PickSlot& slot = slots_[index];
      const Standing standing = endpoint(slot).standing(time_);
      if (standing > its || full(slot) || contains(tried, slot.id)) continue;
      if (found && standing == its && !goes_before(slot, *found)) continue;
      found = &slot;
      its = standing;
    }
  }
  return found;
}

// Our zone's, then the one that the identity has, or that was not picked for longest.
bool RouteBalance::goes_before(const PickSlot& a, const PickSlot& b) const {
  if (a.group != b.group) return a.group == kNear;
  return identity_ ? score(a) > score(b) : a.last_pick < b.last_pick;
}

// Those that start slowly have a little more of their weight.
void RouteBalance::grow(std::chrono::milliseconds slow_start) {
  grown_at_ = time_;
  if (std::exchange(find_growing_, false)) {
    growing_.clear();
    if (slow_start.count() == 0) return;
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].full_weight > 0 && endpoint(slots_[i]).life->ramp(slow_start, time_) < 1)
        growing_.push_back(i);
    }
  }
  std::erase_if(growing_, [&](std::uint32_t index) {
    PickSlot& slot = slots_[index];
    const double part = endpoint(slot).life->ramp(slow_start, time_);
    const auto whole = static_cast<double>(slot.full_weight * kPartsOfWeight);
    slot.weight = std::max(1U, static_cast<std::uint32_t>(whole * part));
    restore(slot);
    return part >= 1;
  });
}

void RouteBalance::restore(const PickSlot& slot) {
  if (slot.place != PickSlot::kNowhere) group_of(slot).order.restore(slot);
}

void RouteBalance::release(std::uint64_t id) noexcept {
  iouring::invariant(outstanding_ > 0, "every connection in use was counted");
  outstanding_ -= 1;
  PickSlot* slot = find(id);
  if (!slot) return;  // its endpoint is gone
  iouring::invariant(slot->in_use > 0, "every connection of an endpoint was counted");
  slot->in_use -= 1;
  restore(*slot);
}

const PickSlot* RouteBalance::find(std::uint64_t id) const {
  const auto found = std::ranges::lower_bound(slots_, id, {}, &PickSlot::id);
  return found == slots_.end() || found->id != id ? nullptr : &*found;
}

// A number drawn evenly from [0, count), the same with every standard library.
std::uint32_t RouteBalance::draw(std::size_t count) {
  const auto wide = static_cast<unsigned __int128>(random_()) * count;
  return static_cast<std::uint32_t>(wide >> 64);
}

PickSlot* RouteBalance::best_good(Group& group, const Tried& tried) {
  if (identity_) return best_by_identity(group, tried);
  return method_ == Balance::kPowerOfTwo ? better_of_two(group, tried) : first(group, tried);
}

PickSlot* RouteBalance::first(Group& group, const Tried& tried) {
  PickOrder& order = group.order;
  std::vector<std::uint32_t> aside;
  while (!order.empty()) {
    PickSlot& slot = order.top();
    if (!good(slot)) {
      set_aside(slot);
    } else if (contains(tried, slot.id)) {
      aside.push_back(index(slot));
      order.remove(slot);
    } else {
      break;
    }
  }
  PickSlot* const found = order.empty() ? nullptr : &order.top();
  for (const std::uint32_t index : aside) order.insert(index);
  return found;
}

PickSlot* RouteBalance::best_by_identity(const Group& group, const Tried& tried) {
  while (true) {
    PickSlot* found = nullptr;
    double best = 0;
    for (const std::uint32_t index : group.order.indexes()) {
      PickSlot& slot = slots_[index];
      const double drawn = rendezvous_draw(slot.hash, *identity_);
      if (cannot_beat(drawn, slot.weight, best)) continue;
      const double score = rendezvous_score(drawn, slot.weight);
      if (score <= best || contains(tried, slot.id)) continue;
      found = &slot;
      best = score;
    }
    if (!found || good(*found)) return found;
    set_aside(*found);
  }
}

double RouteBalance::score(const PickSlot& slot) const {
  return rendezvous_score(rendezvous_draw(slot.hash, *identity_), slot.weight);
}

// Whether the identity has another one of those that are taken for good.
bool RouteBalance::outscored(const PickSlot& slot, const Group& among) const {
  const double its = score(slot);
  return std::ranges::any_of(among.order.indexes(),
                             [&](std::uint32_t index) { return score(slots_[index]) > its; });
}

PickSlot* RouteBalance::better_of_two(const Group& group, const Tried& tried) {
  while (true) {
    const auto [one, other] = draw_two(group, tried);
    bool all_good = true;
    for (PickSlot* slot : {one, other}) {
      if (!slot || good(*slot)) continue;
      set_aside(*slot);
      all_good = false;
    }
    if (!all_good) continue;
    return other && compare_load(*other, *one) < 0 ? other : one;
  }
}

// Null: there are no two.
std::array<PickSlot*, 2> RouteBalance::draw_two(const Group& group, const Tried& tried) {
  const std::span<const std::uint32_t> all = group.order.indexes();
  std::array<PickSlot*, 2> drawn{};
  std::size_t count = 0;
  const auto take = [&](std::uint32_t index) {
    PickSlot* slot = &slots_[index];
    if (slot != drawn[0] && !contains(tried, slot->id)) drawn[count++] = slot;
  };
  for (int i = 0; i < kDraws && count < 2 && !all.empty(); ++i) take(all[draw(all.size())]);
  // The draws found no two: there may be none, or all but a few were tried.
  if (count < 2 && !all.empty()) {
    const std::size_t start = draw(all.size());
    for (std::size_t i = 0; i < all.size() && count < 2; ++i) take(all[(start + i) % all.size()]);
  }
  return drawn;
}

}  // namespace sallyport::gateway
