// How many connections, and how many handshakes a second, each of very many keys has.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace sallyport::gateway {

/// One table for all shards, since the connections of a client are spread over them; without a
/// lock, of fixed size: 16 bytes a slot, two slots for each connection that the process carries. A
/// key has a slot as long as it has connections, or its handshakes of the last second count. Any
/// thread; outlives every Place.
class LimitTable {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `most_connections`: of the process. Where each is of another key, half of the slots are free.
  explicit LimitTable(std::size_t most_connections);

  /// One connection of a key, given back by the destructor; or none.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(slot_, other.slot_);
      return *this;
    }
    ~Place() {
      if (slot_ != nullptr) slot_->fetch_sub(1);
    }
    [[nodiscard]] explicit operator bool() const { return slot_ != nullptr; }

   private:
    friend class LimitTable;
    explicit Place(std::atomic<std::uint64_t>& slot) : slot_(&slot) {}
    std::atomic<std::uint64_t>* slot_ = nullptr;
  };

  /// None: the key has `most` already. Exact over all threads: never more; when several enter at
  /// the same moment beside a full key, fewer may get in.
  [[nodiscard]] Place enter(std::uint64_t key, std::uint32_t most, Time now);

  /// Whether the key may have one more now; counts it then. As many as `per_second` (at least 1)
  /// may come at once, and over ten seconds never more than a tenth above that rate.
  [[nodiscard]] bool take(std::uint64_t key, std::uint32_t per_second, Time now);

  [[nodiscard]] std::size_t slots() const noexcept { return mask_ + 1; }

 private:
  struct Slot {
    std::atomic<std::uint64_t> owner{0};  // 44 bits of the key's hash, 20 of its connections
    std::atomic<std::int64_t> due{0};     // when the last one that was let in was due, nanoseconds
  };

  [[nodiscard]] std::uint64_t hash_of(std::uint64_t key) const noexcept;
  /// The slot at `probe` of the key's.
  [[nodiscard]] Slot& at(std::uint64_t hash, std::size_t probe) noexcept {
    return slots_[(hash + probe) & mask_];
  }
  /// Adds `connections` (0 or 1) to the key's slot; null: all slots of the key have others'.
  [[nodiscard]] Slot* hold(std::uint64_t hash, unsigned connections, std::int64_t now) noexcept;
  [[nodiscard]] Slot* find(std::uint64_t hash, unsigned connections) noexcept;
  [[nodiscard]] Slot* claim(std::uint64_t hash, unsigned connections, std::int64_t now) noexcept;
  [[nodiscard]] std::uint64_t connections_of(std::uint64_t hash) noexcept;

  std::size_t mask_;
  std::unique_ptr<Slot[]> slots_;
  std::uint64_t seed_;
  std::uint64_t factor_;
};

}  // namespace sallyport::gateway
