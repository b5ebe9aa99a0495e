#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <unordered_map>
#include <utility>

namespace sallyport::ktls {

/// One object for equal values of a shard. Belongs to one thread. The objects may outlive the pool;
/// while it lives they must be dropped on its thread.
template <class T, class Hash>
class InternPool {
 public:
  std::shared_ptr<const T> intern(T value) {
    const std::size_t key = Hash{}(value);
    if (std::shared_ptr<const T> known = find(key, value)) return known;
    // Not make_shared: the object's memory must be freed with the last user, not with the last
    // weak_ptr.
    return add(key, std::shared_ptr<const T>(new T(std::move(value))));
  }
  /// The same for a value that is an object already (better not one of make_shared, see above).
  std::shared_ptr<const T> intern(std::shared_ptr<const T> value) {
    const std::size_t key = Hash{}(*value);
    if (std::shared_ptr<const T> known = find(key, *value)) return known;
    return add(key, std::move(value));
  }
  std::size_t size() const noexcept {
    return known_.size();
  }  ///< includes dead ones that are not yet swept

 private:
  std::shared_ptr<const T> find(std::size_t key, const T& value) const {
    const auto [first, last] = known_.equal_range(key);
    for (auto it = first; it != last; ++it) {
      std::shared_ptr<const T> known = it->second.lock();
      if (known && (known.get() == &value || *known == value)) return known;
    }
    return nullptr;
  }
  std::shared_ptr<const T> add(std::size_t key, std::shared_ptr<const T> fresh) {
    if (known_.size() >= sweep_at_) sweep();
    known_.emplace(key, fresh);
    return fresh;
  }
  void sweep() {
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max<std::size_t>(64, known_.size() * 2);
  }

  std::unordered_multimap<std::size_t, std::weak_ptr<const T>> known_;
  std::size_t sweep_at_ = 64;
};

}  // namespace sallyport::ktls
