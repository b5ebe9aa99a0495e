// Endpoints in the order in which they are picked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {

class WarmStock;

/// What one shard counts of an endpoint of a route.
struct PickSlot {
  static constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint8_t kNoGroup = std::numeric_limits<std::uint8_t>::max();

  std::uint64_t id = 0;
  std::uint64_t hash = 0;       ///< for rendezvous_draw()
  std::uint64_t pass = 0;       ///< round-robin: virtual time of its next pick
  std::uint64_t last_pick = 0;  ///< its number; the lower one goes first among equals
  std::uint32_t full_weight = 0;
  std::uint32_t weight = 0;  ///< now, in parts
  std::uint32_t in_use = 0;
  std::uint32_t place = kNowhere;             ///< in its group's PickOrder
  std::uint8_t group = kNoGroup;              ///< none: it has not been in one with this weight
  std::shared_ptr<WarmStock> warm = nullptr;  ///< null: none
};

/// Negative if `a` has fewer connections for its weight than `b`, positive if more.
[[nodiscard]] int compare_load(const PickSlot& a, const PickSlot& b);

/// Some of a route's slots: a heap with the next one to pick on top. Power-of-two needs no order,
/// and the slots stand in any; hash-identity has that of round-robin, for what has no identity.
class PickOrder {
 public:
  /// `slots` outlives it; it names them by their indexes there.
  explicit PickOrder(std::vector<PickSlot>& slots) : slots_(slots) {}

  /// None is in it any more; those that are added come in the order of `method`.
  void restart(Balance method);
  /// After restart(): `index` is in it, out of order until heapify().
  void append(std::uint32_t index);
  void heapify();

  [[nodiscard]] bool empty() const { return indexes_.empty(); }
  [[nodiscard]] std::span<const std::uint32_t> indexes() const { return indexes_; }
  /// The next one to pick, where order counts. Not if empty().
  [[nodiscard]] PickSlot& top() const { return slots_[indexes_.front()]; }

  void insert(std::uint32_t index);
  /// `slot` is in it.
  void remove(PickSlot& slot);
  /// What its place depends on has changed; it need not be in it.
  void restore(const PickSlot& slot);

  /// It is picked: round-robin's time goes on.
  void take_turn(PickSlot& slot);
  /// Half a stride ahead of time at least: it starts in the middle of its stride, without a backlog
  /// of picks. It is not in it yet.
  void start_afresh(PickSlot& slot) const;
  void catch_up(PickSlot& slot) const;

 private:
  [[nodiscard]] bool ordered() const { return method_ != Balance::kPowerOfTwo; }
  [[nodiscard]] bool goes_first(const PickSlot& a, const PickSlot& b) const;
  void put(std::size_t place, std::uint32_t index);
  void sift_up(std::size_t place);
  void sift_down(std::size_t place);

  std::vector<PickSlot>& slots_;
  std::vector<std::uint32_t> indexes_;
  Balance method_ = Balance::kRoundRobin;
  std::uint64_t now_ = 0;  // virtual time of the last pick
};

}  // namespace sallyport::gateway
