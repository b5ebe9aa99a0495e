// What the shards have been told to use no more.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace sallyport::gateway {

/// Keeps parts of earlier snapshots until nothing else does, so that its owner frees them: a list
/// of 100,000 revoked certificates takes 15 ms, for which a shard would stand still. One thread.
class Retired {
 public:
  /// Each object once.
  void add(std::shared_ptr<const void> part) { parts_.push_back(std::move(part)); }
  /// Frees those that nothing else holds any more.
  void free_unused() {
    std::erase_if(parts_, [](const auto& part) { return part.use_count() == 1; });
  }
  [[nodiscard]] std::size_t size() const noexcept { return parts_.size(); }

 private:
  std::vector<std::shared_ptr<const void>> parts_;
};

}  // namespace sallyport::gateway
