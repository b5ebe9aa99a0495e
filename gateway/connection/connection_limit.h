// How many connections the process carries at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

namespace sallyport::gateway {

/// --max-connections: one count for all shards, since the kernel spreads connections unevenly over
/// them. Connections that linger count, and give way to new ones: whichever shard has one then ends
/// it. Any thread; outlives every Place.
class ConnectionLimit {
 public:
  /// `on_owed` is called, on the thread that calls enter(), when a lingering connection must end:
  /// the shards that have such call settle().
  explicit ConnectionLimit(std::uint64_t most, std::function<void()> on_owed = {})
      : most_(most), on_owed_(std::move(on_owed)) {}

  /// One connection's share, given back by the destructor.
  class Place {
   public:
    Place(Place&& other) noexcept : limit_(std::exchange(other.limit_, nullptr)) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(limit_, other.limit_);
      return *this;
    }
    ~Place() {
      if (limit_ != nullptr) limit_->open_.fetch_sub(1, std::memory_order_relaxed);
    }

   private:
    friend class ConnectionLimit;
    explicit Place(ConnectionLimit& limit) : limit_(&limit) {}
    ConnectionLimit* limit_;
  };

  /// Nothing if the process is full and none of its connections lingers. For as long as a lingering
  /// one needs to end, one more is open than allowed.
  [[nodiscard]] std::optional<Place> enter() {
    if (open_.fetch_add(1, std::memory_order_relaxed) < most_) return Place(*this);
    const bool owed = change_lingering([](Lingering& lingering) {
      if (lingering.free == 0) return false;
      --lingering.free;
      ++lingering.owed;
      return true;
    });
    if (owed) {
      if (on_owed_) on_owed_();
      return Place(*this);
    }
    open_.fetch_sub(1, std::memory_order_relaxed);
    return std::nullopt;
  }

  /// A connection begins to linger: it will end by itself, or for another (settle()).
  void lingers() noexcept {
    change_lingering([](Lingering& lingering) { return ++lingering.free, true; });
  }
  /// It ended by itself.
  void lingers_no_more() noexcept {
    change_lingering([](Lingering& lingering) {
      return --(lingering.free > 0 ? lingering.free : lingering.owed), true;
    });
  }
  /// True: the caller has to end one of its lingering connections, now.
  [[nodiscard]] bool settle() noexcept {
    return change_lingering([](Lingering& lingering) {
      if (lingering.owed == 0) return false;
      --lingering.owed;
      return true;
    });
  }

 private:
  // Changed as one: free + owed are those that linger and were not told to end. Aligned as what it
  // fills, else clang calls libatomic for it with libstdc++ 14.
  struct alignas(std::uint64_t) Lingering {
    std::uint32_t free = 0;
    std::uint32_t owed = 0;  // have to end: another connection has entered for each of them
  };

  template <class Change>
  bool change_lingering(Change change) noexcept {
    Lingering before = lingering_.load(std::memory_order_relaxed);
    for (;;) {
      Lingering after = before;
      if (!change(after)) return false;
      if (lingering_.compare_exchange_weak(before, after, std::memory_order_relaxed)) return true;
    }
  }

  const std::uint64_t most_;
  std::function<void()> on_owed_;
  std::atomic<std::uint64_t> open_{0};
  std::atomic<Lingering> lingering_{};
};

}  // namespace sallyport::gateway
