// How many connections the process carries at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

namespace sallyport::gateway {

/// --max-connections: one count for all shards, since the kernel spreads connections unevenly over
/// them. Any thread; outlives every Place.
class ConnectionLimit {
 public:
  explicit ConnectionLimit(std::uint64_t most) : most_(most) {}

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

  /// Nothing if the process is full.
  [[nodiscard]] std::optional<Place> enter() {
    if (open_.fetch_add(1, std::memory_order_relaxed) >= most_) {
      open_.fetch_sub(1, std::memory_order_relaxed);
      return std::nullopt;
    }
    return Place(*this);
  }

 private:
  const std::uint64_t most_;
  std::atomic<std::uint64_t> open_{0};
};

}  // namespace sallyport::gateway
