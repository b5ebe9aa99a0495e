#include "gateway/backends/pick_order.h"

namespace sallyport::gateway {
namespace {

// The stride of an endpoint of weight 1 in round-robin's virtual time (stride scheduling). Large,
// so that dividing by 65535 rounds by nothing that shows; small, so that differences of times stay
// signed.
constexpr std::uint64_t kUnitStride = std::uint64_t{1} << 56;

// Virtual time wraps around; compared values are close to each other.
bool before(std::uint64_t a, std::uint64_t b) {
  return static_cast<std::int64_t>(a - b) < 0;
}

}  // namespace

int compare_load(const PickSlot& a, const PickSlot& b) {
  const std::uint64_t load_a = (std::uint64_t{a.in_use} + 1) * b.weight;
  const std::uint64_t load_b = (std::uint64_t{b.in_use} + 1) * a.weight;
  return load_a < load_b ? -1 : load_a > load_b ? 1 : 0;
}

void PickOrder::restart(Balance method) {
  method_ = method;
  indexes_.clear();
}

void PickOrder::append(std::uint32_t index) {
  indexes_.push_back(index);
  slots_[index].place = static_cast<std::uint32_t>(indexes_.size() - 1);
}

void PickOrder::heapify() {
  if (!ordered()) return;
  for (std::size_t place = indexes_.size() / 2; place > 0; --place) sift_down(place - 1);
}

void PickOrder::insert(std::uint32_t index) {
  append(index);
  restore(slots_[index]);
}

void PickOrder::remove(PickSlot& slot) {
  const std::size_t place = slot.place;
  slot.place = PickSlot::kNowhere;
  const std::uint32_t last = indexes_.back();
  indexes_.pop_back();
  if (place == indexes_.size()) return;
  put(place, last);
  restore(slots_[last]);
}

void PickOrder::restore(const PickSlot& slot) {
  if (!ordered() || slot.place == PickSlot::kNowhere) return;
  sift_up(slot.place);
  sift_down(slot.place);
}

void PickOrder::take_turn(PickSlot& slot) {
  if (before(now_, slot.pass)) now_ = slot.pass;
  slot.pass += kUnitStride / slot.weight;
}

void PickOrder::start_afresh(PickSlot& slot) const {
  slot.pass = now_ + kUnitStride / slot.weight / 2;
}

void PickOrder::catch_up(PickSlot& slot) const {
  const std::uint64_t pass = slot.pass;
  start_afresh(slot);
  if (before(slot.pass, pass)) slot.pass = pass;
}

bool PickOrder::goes_first(const PickSlot& a, const PickSlot& b) const {
  if (method_ != Balance::kLeastConnections) {
    if (a.pass != b.pass) return before(a.pass, b.pass);
  } else if (const int load = compare_load(a, b); load != 0) {
    return load < 0;
  }
  if (a.last_pick != b.last_pick) return a.last_pick < b.last_pick;
  return a.id < b.id;
}

void PickOrder::put(std::size_t place, std::uint32_t index) {
  indexes_[place] = index;
  slots_[index].place = static_cast<std::uint32_t>(place);
}

void PickOrder::sift_up(std::size_t place) {
  const std::uint32_t index = indexes_[place];
  while (place > 0) {
    const std::size_t parent = (place - 1) / 2;
    if (!goes_first(slots_[index], slots_[indexes_[parent]])) break;
    put(place, indexes_[parent]);
    place = parent;
  }
  put(place, index);
}

void PickOrder::sift_down(std::size_t place) {
  const std::uint32_t index = indexes_[place];
  while (true) {
    std::size_t child = 2 * place + 1;
    if (child >= indexes_.size()) break;
    const bool right = child + 1 < indexes_.size() &&
                       goes_first(slots_[indexes_[child + 1]], slots_[indexes_[child]]);
    child += right ? 1 : 0;
    if (!goes_first(slots_[indexes_[child]], slots_[index])) break;
    put(place, indexes_[child]);
    place = child;
  }
  put(place, index);
}

}  // namespace sallyport::gateway
