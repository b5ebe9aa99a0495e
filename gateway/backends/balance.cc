#include "gateway/backends/balance.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "gateway/backends/ejection.h"
#include "iouring/invariant.h"

namespace sallyport::gateway {
namespace {

constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();
// The stride of an endpoint of weight 1 in round-robin's virtual time (stride scheduling). Large,
// so that dividing by 65535 rounds by nothing that shows; small, so that differences of times stay
// signed.
constexpr std::uint64_t kUnitStride = std::uint64_t{1} << 56;
// The number of the first pick. Endpoints that were never picked have a random number below it.
constexpr std::uint64_t kFirstPick = std::uint64_t{1} << 32;
constexpr int kDraws = 16;
// Weights are counted in parts, so that one that starts slowly can have a part of the smallest.
constexpr std::uint32_t kPartsOfWeight = 16;
// More endpoints than these that are not good are looked at now and then, not at each pick.
constexpr std::size_t kFew = 16;
constexpr std::chrono::milliseconds kLookEvery{10};

bool contains(const Tried& tried, std::uint64_t id) {
  return std::ranges::find(tried, id) != tried.end();
}

// Virtual time wraps around; compared values are close to each other.
bool before(std::uint64_t a, std::uint64_t b) {
  return static_cast<std::int64_t>(a - b) < 0;
}

}  // namespace

// Counts and order of the picks of one route. Slots mirror the endpoints of the current generation;
// those that take new connections are also in `order_`, a heap with the next one to pick on top
// (power-of-two needs no order and leaves it as it is).
class RouteBalance {
 public:
  explicit RouteBalance(std::mt19937_64& random) : random_(&random) {}

  // `endpoints` lives until the next call; null: the route is gone.
  void update(const RouteEndpoints* endpoints);
  std::optional<Pick> pick(const PickRules& rules, const Tried& tried, iouring::TimePoint now);
  void release(std::uint64_t id) noexcept;

  std::size_t usable() const { return order_.size() + passed_over_.size(); }
  std::size_t outstanding() const { return outstanding_; }
  std::size_t in_use(std::uint64_t id) const {
    const Slot* slot = find(id);
    return slot ? slot->in_use : 0;
  }

 private:
  struct Slot {
    std::uint64_t id = 0;
    std::uint64_t pass = 0;       // round-robin: virtual time of the next pick
    std::uint64_t last_pick = 0;  // its number; the lower one goes first among equals
    std::uint32_t full_weight = 0;
    std::uint32_t weight = 0;  // now, in parts
    std::uint32_t in_use = 0;
    std::uint32_t place = kNowhere;  // in order_
  };

  const Slot* find(std::uint64_t id) const;
  Slot* find(std::uint64_t id) { return const_cast<Slot*>(std::as_const(*this).find(id)); }
  std::uint32_t draw(std::size_t count);

  // Which of two has fewer connections for its weight, if one has.
  static int compare_load(const Slot& a, const Slot& b);
  bool goes_first(const Slot& a, const Slot& b) const;

  void build_order();
  void put(std::size_t place, std::uint32_t index);
  void sift_up(std::size_t place);
  void sift_down(std::size_t place);
  void restore_order(std::size_t place);
  void remove(std::size_t place);

  const Endpoint& endpoint(const Slot& slot) const {
    return *endpoints_->endpoints[static_cast<std::size_t>(&slot - slots_.data())];
  }
  bool full(const Slot& slot) const {
    return most_per_endpoint_ > 0 && endpoint(slot).life->connections() >= most_per_endpoint_;
  }
  bool good(const Slot& slot) const {
    return endpoint(slot).standing(time_) == Standing::kGood && !full(slot);
  }
  Slot* choose_with_room(const PickRules& rules, const Tried& tried);
  Slot* choose(const PickRules& rules, const Tried& tried);
  Slot* trial();
  void take_back_good();
  void set_aside(const Slot& slot);
  void take_turn(Slot& slot);
  void grow(std::chrono::milliseconds slow_start);

  Slot* first(const Tried& tried);
  std::array<Slot*, 2> draw_two(const Tried& tried);
  Slot* better_of_two(const Tried& tried);
  Slot* best_passed_over(const PickRules& rules, const Tried& tried);

  std::mt19937_64* random_;
  const RouteEndpoints* endpoints_ = nullptr;
  std::vector<Slot> slots_;           // sorted by id
  std::vector<std::uint32_t> order_;  // indexes of slots
  // Those that take new connections and were found not to be good: not in order_.
  std::vector<std::uint32_t> passed_over_;
  std::vector<std::uint32_t> growing_;  // whose weight is not the whole
  bool find_growing_ = false;           // some may have to be added
  Balance method_ = Balance::kRoundRobin;
  std::uint32_t most_per_endpoint_ = 0;  // of the last pick
  iouring::TimePoint time_;              // of the last pick
  iouring::TimePoint grown_at_;          // when growing_ was
  iouring::TimePoint looked_at_;         // when passed_over_ was
  std::uint64_t now_ = 0;                // virtual time of the last pick
  std::uint64_t next_pick_ = kFirstPick;
  std::size_t outstanding_ = 0;
};

void RouteBalance::update(const RouteEndpoints* endpoints) {
  endpoints_ = endpoints;
  std::vector<Slot> before_update = std::exchange(slots_, {});
  if (endpoints) slots_.reserve(endpoints->weights.size());
  auto old = before_update.begin();
  for (std::size_t i = 0; endpoints && i < endpoints->weights.size(); ++i) {
    const RouteEndpoints::EndpointWeight& each = endpoints->weights[i];
    while (old != before_update.end() && old->id < each.id) ++old;
    const bool known = old != before_update.end() && old->id == each.id;
    Slot slot = known ? *old : Slot{.id = each.id, .last_pick = draw(kFirstPick)};
    // Half a stride ahead: a new endpoint starts in the middle of its stride, without a backlog of
    // picks.
    slot.weight = each.weight * kPartsOfWeight;
    if (each.weight > 0 && slot.full_weight != each.weight)
      slot.pass = now_ + kUnitStride / slot.weight / 2;
    slot.full_weight = each.weight;
    slot.place = kNowhere;
    slots_.push_back(slot);
  }
  build_order();
}

std::optional<Pick> RouteBalance::pick(const PickRules& rules, const Tried& tried,
                                       iouring::TimePoint now) {
  time_ = now;
  if (rules.method != method_) {
    method_ = rules.method;
    build_order();
  }
  most_per_endpoint_ = rules.most_per_endpoint;
  Slot* slot = choose_with_room(rules, tried);
  if (!slot) return std::nullopt;
  if (tried.empty()) take_turn(*slot);
  slot->in_use += 1;
  outstanding_ += 1;
  if (slot->place != kNowhere) restore_order(slot->place);
  const auto index = static_cast<std::size_t>(slot - slots_.data());
  return Pick{endpoints_->endpoints[index], InUse(this, endpoints_->endpoints[index])};
}

// Other shards fill an endpoint, too: one that is full by the time it is entered is not taken.
RouteBalance::Slot* RouteBalance::choose_with_room(const PickRules& rules, const Tried& tried) {
  Slot* slot = choose(rules, tried);
  if (!slot || endpoint(*slot).life->enter(most_per_endpoint_)) return slot;
  Tried passed_by = tried;
  do {
    passed_by.push_back(slot->id);
    slot = choose(rules, passed_by);
  } while (slot && !endpoint(*slot).life->enter(most_per_endpoint_));
  return slot;
}

RouteBalance::Slot* RouteBalance::choose(const PickRules& rules, const Tried& tried) {
  if (!passed_over_.empty() && (passed_over_.size() <= kFew || time_ - looked_at_ >= kLookEvery)) {
    looked_at_ = time_;
    take_back_good();
    // A connection that goes on from a failed endpoint has waited enough: it makes no trial.
    if (tried.empty()) {
      if (Slot* const slot = trial()) return slot;
    }
  }
  if (find_growing_ || (!growing_.empty() && time_ - grown_at_ >= kLookEvery))
    grow(rules.slow_start);
  Slot* const slot = method_ == Balance::kPowerOfTwo ? better_of_two(tried) : first(tried);
  return slot ? slot : best_passed_over(rules, tried);
}

// One whose address failed and that this connection is to try again; null: none.
RouteBalance::Slot* RouteBalance::trial() {
  for (const std::uint32_t index : passed_over_) {
    Slot& slot = slots_[index];
    const Endpoint& its = endpoint(slot);
    const bool fails = its.standing(time_) == Standing::kFailing;
    if (fails && !full(slot) && its.health->claim_trial(time_)) return &slot;
  }
  return nullptr;
}

void RouteBalance::take_turn(Slot& slot) {
  if (before(now_, slot.pass)) now_ = slot.pass;
  slot.pass += kUnitStride / slot.weight;
  slot.last_pick = next_pick_++;
}

// What is good again goes on like a new endpoint, without a backlog of picks.
void RouteBalance::take_back_good() {
  std::erase_if(passed_over_, [this](std::uint32_t index) {
    Slot& slot = slots_[index];
    if (!good(slot)) return false;
    const std::uint64_t soon = now_ + kUnitStride / slot.weight / 2;
    if (before(slot.pass, soon)) slot.pass = soon;
    order_.push_back(index);
    slot.place = static_cast<std::uint32_t>(order_.size() - 1);
    restore_order(slot.place);
    find_growing_ = true;
    return true;
  });
}

void RouteBalance::set_aside(const Slot& slot) {
  passed_over_.push_back(order_[slot.place]);
  remove(slot.place);
}

// Of the best standing there is, the one that was not picked for longest.
RouteBalance::Slot* RouteBalance::best_passed_over(const PickRules& rules, const Tried& tried) {
  const Standing worst =
      rules.when_none_healthy == WhenNoneHealthy::kRefuse ? Standing::kUnchecked : Standing::kDown;
  Slot* found = nullptr;
  Standing its = worst;
  for (const std::uint32_t index : passed_over_) {
    Slot& slot = slots_[index];
    const Standing standing = endpoint(slot).standing(time_);
    if (standing > its || full(slot) || contains(tried, slot.id)) continue;
    if (found && standing == its && slot.last_pick > found->last_pick) continue;
    found = &slot;
    its = standing;
  }
  return found;
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
    Slot& slot = slots_[index];
    const double part = endpoint(slot).life->ramp(slow_start, time_);
    const auto whole = static_cast<double>(slot.full_weight * kPartsOfWeight);
    slot.weight = std::max(1U, static_cast<std::uint32_t>(whole * part));
    if (slot.place != kNowhere) restore_order(slot.place);
    return part >= 1;
  });
}

void RouteBalance::release(std::uint64_t id) noexcept {
  iouring::invariant(outstanding_ > 0, "every connection in use was counted");
  outstanding_ -= 1;
  Slot* slot = find(id);
  if (!slot) return;  // its endpoint is gone
  iouring::invariant(slot->in_use > 0, "every connection of an endpoint was counted");
  slot->in_use -= 1;
  if (slot->place != kNowhere) restore_order(slot->place);
}

const RouteBalance::Slot* RouteBalance::find(std::uint64_t id) const {
  const auto found = std::ranges::lower_bound(slots_, id, {}, &Slot::id);
  return found == slots_.end() || found->id != id ? nullptr : &*found;
}

// A number drawn evenly from [0, count), the same with every standard library.
std::uint32_t RouteBalance::draw(std::size_t count) {
  const auto wide = static_cast<unsigned __int128>((*random_)()) * count;
  return static_cast<std::uint32_t>(wide >> 64);
}

int RouteBalance::compare_load(const Slot& a, const Slot& b) {
  const std::uint64_t load_a = (std::uint64_t{a.in_use} + 1) * b.weight;
  const std::uint64_t load_b = (std::uint64_t{b.in_use} + 1) * a.weight;
  return load_a < load_b ? -1 : load_a > load_b ? 1 : 0;
}

bool RouteBalance::goes_first(const Slot& a, const Slot& b) const {
  if (method_ == Balance::kRoundRobin) {
    if (a.pass != b.pass) return before(a.pass, b.pass);
  } else if (const int load = compare_load(a, b); load != 0) {
    return load < 0;
  }
  if (a.last_pick != b.last_pick) return a.last_pick < b.last_pick;
  return a.id < b.id;
}

void RouteBalance::build_order() {
  order_.clear();
  passed_over_.clear();  // those that still are not good are found again
  growing_.clear();
  find_growing_ = true;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].weight == 0) continue;
    order_.push_back(i);
    slots_[i].place = static_cast<std::uint32_t>(order_.size() - 1);
  }
  if (method_ == Balance::kPowerOfTwo) return;
  for (std::size_t place = order_.size() / 2; place > 0; --place) sift_down(place - 1);
}

void RouteBalance::put(std::size_t place, std::uint32_t index) {
  order_[place] = index;
  slots_[index].place = static_cast<std::uint32_t>(place);
}

void RouteBalance::sift_up(std::size_t place) {
  const std::uint32_t index = order_[place];
  while (place > 0) {
    const std::size_t parent = (place - 1) / 2;
    if (!goes_first(slots_[index], slots_[order_[parent]])) break;
    put(place, order_[parent]);
    place = parent;
  }
  put(place, index);
}

void RouteBalance::sift_down(std::size_t place) {
  const std::uint32_t index = order_[place];
  while (true) {
    std::size_t child = 2 * place + 1;
    if (child >= order_.size()) break;
    const bool right =
        child + 1 < order_.size() && goes_first(slots_[order_[child + 1]], slots_[order_[child]]);
    child += right ? 1 : 0;
    if (!goes_first(slots_[order_[child]], slots_[index])) break;
    put(place, order_[child]);
    place = child;
  }
  put(place, index);
}

void RouteBalance::restore_order(std::size_t place) {
  if (method_ == Balance::kPowerOfTwo) return;
  const std::uint32_t index = order_[place];
  sift_up(place);
  sift_down(slots_[index].place);
}

void RouteBalance::remove(std::size_t place) {
  slots_[order_[place]].place = kNowhere;
  const std::uint32_t last = order_.back();
  order_.pop_back();
  if (place == order_.size()) return;
  put(place, last);
  restore_order(place);
}

RouteBalance::Slot* RouteBalance::first(const Tried& tried) {
  std::vector<std::uint32_t> aside;
  while (!order_.empty()) {
    const Slot& slot = slots_[order_.front()];
    if (!good(slot)) {
      set_aside(slot);
    } else if (contains(tried, slot.id)) {
      aside.push_back(order_.front());
      remove(0);
    } else {
      break;
    }
  }
  Slot* found = order_.empty() ? nullptr : &slots_[order_.front()];
  for (const std::uint32_t index : aside) {
    order_.push_back(index);
    sift_up(order_.size() - 1);
  }
  return found;
}

RouteBalance::Slot* RouteBalance::better_of_two(const Tried& tried) {
  while (true) {
    const auto [one, other] = draw_two(tried);
    bool all_good = true;
    for (const Slot* slot : {one, other}) {
      if (!slot || good(*slot)) continue;
      set_aside(*slot);
      all_good = false;
    }
    if (!all_good) continue;
    return other && compare_load(*other, *one) < 0 ? other : one;
  }
}

// Null: there are no two.
std::array<RouteBalance::Slot*, 2> RouteBalance::draw_two(const Tried& tried) {
  std::array<Slot*, 2> drawn{};
  std::size_t count = 0;
  const auto take = [&](std::uint32_t index) {
    Slot* slot = &slots_[index];
    if (slot != drawn[0] && !contains(tried, slot->id)) drawn[count++] = slot;
  };
  for (int i = 0; i < kDraws && count < 2 && !order_.empty(); ++i)
    take(order_[draw(order_.size())]);
  // The draws found no two: there may be none, or all but a few were tried.
  if (count < 2 && !order_.empty()) {
    const std::size_t start = draw(order_.size());
    for (std::size_t i = 0; i < order_.size() && count < 2; ++i) {
      take(order_[(start + i) % order_.size()]);
    }
  }
  return drawn;
}

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
  auto route = std::make_unique<RouteBalance>(random_);
  route->update(found);
  return routes_.emplace(name, std::move(route)).first->second.get();
}

std::optional<Pick> Balancer::pick(std::string_view route, const PickRules& rules,
                                   const Tried& tried, iouring::TimePoint now) {
  RouteBalance* balance = current(route);
  if (!balance) return std::nullopt;
  return balance->pick(rules, tried, now);
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
