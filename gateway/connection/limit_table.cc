#include "gateway/connection/limit_table.h"

#include <algorithm>
#include <bit>
#include <random>

namespace sallyport::gateway {
namespace {

constexpr unsigned kCountBits = 20;
constexpr std::uint64_t kCountMask = (std::uint64_t{1} << kCountBits) - 1;
// Slots in which a key may be.
constexpr std::size_t kProbes = 64;
constexpr std::size_t kFewestSlots = 1024;
// A slot is free this long after the last handshake of a key without connections.
constexpr std::uint32_t kSecondsKept = 2;

std::uint64_t owner_of(std::uint64_t hash) {
  return hash & ~kCountMask;
}

std::uint64_t count_of(std::uint64_t owner) {
  return owner & kCountMask;
}

/// Of one key: a second and how often in it, and in the one before.
struct Window {
  std::uint32_t second = 0;
  std::uint16_t before = 0, here = 0;

  static Window unpack(std::uint64_t word) {
    return {.second = static_cast<std::uint32_t>(word >> 32),
            .before = static_cast<std::uint16_t>(word >> 16),
            .here = static_cast<std::uint16_t>(word)};
  }
  [[nodiscard]] std::uint64_t pack() const {
    return (std::uint64_t{second} << 32) | (std::uint64_t{before} << 16) | here;
  }
  void move_to(std::uint32_t now) {
    if (now == second) return;
    before = now == second + 1 ? here : 0;
    here = 0;
    second = now;
  }
};

std::uint64_t random_word() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
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

std::uint32_t LimitTable::second_of(Time now) const noexcept {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
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
                                    std::uint32_t second) noexcept {
  for (const bool over : {true, false}) {
    for (std::size_t probe = 0; probe < kProbes; ++probe) {
      Slot& slot = at(hash, probe);
      std::uint64_t owner = slot.owner.load();
      const Window window = Window::unpack(slot.window.load(std::memory_order_relaxed));
      const bool free = owner == 0 || second - window.second >= kSecondsKept || !over;
      if (count_of(owner) != 0 || !free) continue;
      if (!slot.owner.compare_exchange_strong(owner, owner_of(hash) + connections)) continue;
      if (!over) slot.window.store(0, std::memory_order_relaxed);
      return &slot;
    }
  }
  return nullptr;
}

LimitTable::Slot* LimitTable::hold(std::uint64_t hash, unsigned connections,
                                   std::uint32_t second) noexcept {
  Slot* const slot = find(hash, connections);
  return slot ? slot : claim(hash, connections, second);
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

std::optional<LimitTable::Place> LimitTable::enter(std::uint64_t key, std::uint32_t most,
                                                   Time now) {
  const std::uint64_t hash = hash_of(key);
  Slot* const slot = hold(hash, 1, second_of(now));
  if (!slot) return std::nullopt;
  Place place(slot->owner);
  if (connections_of(hash) > most) return std::nullopt;
  return place;
}

bool LimitTable::take(std::uint64_t key, std::uint32_t per_second, Time now) {
  const std::uint32_t second = second_of(now);
  Slot* const slot = hold(hash_of(key), 0, second);
  if (!slot) return true;  // nothing is known of it
  const auto into = now.time_since_epoch() % std::chrono::seconds(1);
  const double left = 1 - std::chrono::duration<double>(into).count();
  std::uint64_t word = slot->window.load(std::memory_order_relaxed);
  while (true) {
    Window window = Window::unpack(word);
    window.move_to(second);
    if (window.here + window.before * left + 1 > per_second) return false;
    ++window.here;
    if (slot->window.compare_exchange_weak(word, window.pack(), std::memory_order_relaxed))
      return true;
  }
}

}  // namespace sallyport::gateway
