#include "gateway/connection/limit_table.h"

#include <algorithm>
#include <bit>

#include "gateway/connection/random_word.h"

namespace sallyport::gateway {
namespace {

constexpr unsigned kCountBits = 20;
constexpr std::uint64_t kCountMask = (std::uint64_t{1} << kCountBits) - 1;
// Slots in which a key may be.
constexpr std::size_t kProbes = 64;
constexpr std::size_t kFewestSlots = 1024;

std::uint64_t owner_of(std::uint64_t hash) {
  return hash & ~kCountMask;
}

std::uint64_t count_of(std::uint64_t owner) {
  return owner & kCountMask;
}

constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t nanoseconds(LimitTable::Time time) {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

}  // namespace

LimitTable::LimitTable(std::size_t most_connections)
    : mask_(std::bit_ceil(std::max(kFewestSlots, 2 * most_connections)) - 1),
      slots_(std::make_unique<Slot[]>(mask_ + 1)),
      seed_(random_word()),
      factor_(random_word() | 1) {}

// Seeded, so that nobody can choose addresses that share their slots.
std::uint64_t LimitTable::hash_of(std::uint64_t key) const noexcept {
  std::uint64_t hash = (key ^ seed_) * factor_;
  hash ^= hash >> 32;
  hash *= 0x9e3779b97f4a7c15;
  hash ^= hash >> 29;
  hash *= factor_;
  hash ^= hash >> 32;
  return owner_of(hash) == 0 ? hash | (kCountMask + 1) : hash;  // 0: a slot that nobody had
}

LimitTable::Slot* LimitTable::find(std::uint64_t hash, unsigned connections) noexcept {
  for (std::size_t probe = 0; probe < kProbes; ++probe) {
    Slot& slot = at(hash, probe);
    std::uint64_t owner = slot.owner.load();
    while (owner_of(owner) == owner_of(hash)) {
      if (count_of(owner) == kCountMask) return nullptr;
      if (connections == 0 || slot.owner.compare_exchange_weak(owner, owner + connections))
        return &slot;
    }
    if (owner == 0) return nullptr;  // no key was ever put behind it
  }
  return nullptr;
}

// One that nobody had, or that is over; for want of these one that has no connections.
LimitTable::Slot* LimitTable::claim(std::uint64_t hash, unsigned connections,
                                    std::int64_t now) noexcept {
  for (const bool over : {true, false}) {
    for (std::size_t probe = 0; probe < kProbes; ++probe) {
      Slot& slot = at(hash, probe);
      std::uint64_t owner = slot.owner.load();
      const bool is_over = slot.due.load(std::memory_order_relaxed) <= now;
      if (count_of(owner) != 0 || is_over != over) continue;
      if (!slot.owner.compare_exchange_strong(owner, owner_of(hash) + connections)) continue;
      if (!over) slot.due.store(0, std::memory_order_relaxed);
      return &slot;
    }
  }
  return nullptr;
}

LimitTable::Slot* LimitTable::hold(std::uint64_t hash, unsigned connections,
                                   std::int64_t now) noexcept {
  Slot* const slot = find(hash, connections);
  return slot ? slot : claim(hash, connections, now);
}

// Two threads that met a new key at once may have given it two slots.
std::uint64_t LimitTable::connections_of(std::uint64_t hash) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t probe = 0; probe < kProbes; ++probe) {
    const std::uint64_t owner = at(hash, probe).owner.load();
    if (owner == 0) break;
    if (owner_of(owner) == owner_of(hash)) sum += count_of(owner);
  }
  return sum;
}

LimitTable::Place LimitTable::enter(std::uint64_t key, std::uint32_t most, Time now) {
  const std::uint64_t hash = hash_of(key);
  Slot* const slot = hold(hash, 1, nanoseconds(now));
  if (!slot) return {};
  Place place(slot->owner);
  if (connections_of(hash) > most) return {};
  return place;
}

// Each is due a part of a second behind the one before (the generic cell rate algorithm of ITU-T
// I.371): one that comes earlier is let in while what is due lies less than a second ahead.
bool LimitTable::take(std::uint64_t key, std::uint32_t per_second, Time time) {
  const std::int64_t now = nanoseconds(time);
  Slot* const slot = hold(hash_of(key), 0, now);
  if (!slot) return true;  // nothing is known of it
  const std::int64_t apart = kSecond / per_second;
  std::int64_t due = slot->due.load(std::memory_order_relaxed);
  while (true) {
    const std::int64_t next = std::max(due, now) + apart;
    if (next - now > kSecond) return false;
    if (slot->due.compare_exchange_weak(due, next, std::memory_order_relaxed)) return true;
  }
}

}  // namespace sallyport::gateway
