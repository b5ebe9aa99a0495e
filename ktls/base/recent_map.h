#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <unordered_map>
#include <utility>

namespace sallyport::ktls {

/// A map of at most `capacity` entries, which evicts the one used longest ago. Not thread-safe.
template <class Key, class Value, class Hash = std::hash<Key>>
class RecentMap {
 public:
  explicit RecentMap(std::size_t capacity) : capacity_(capacity) {}

  /// Null: not known. An entry that is found counts as used; the pointer is good until remember().
  Value* find(const Key& key) {
    const auto found = known_.find(key);
    if (found == known_.end()) return nullptr;
    recent_.splice(recent_.begin(), recent_, found->second);
    return &recent_.front().second;
  }

  /// Does nothing if `key` is known.
  void remember(const Key& key, Value value) {
    if (capacity_ == 0 || known_.contains(key)) return;
    if (known_.size() >= capacity_) {
      known_.erase(recent_.back().first);
      recent_.pop_back();
    }
    recent_.emplace_front(key, std::move(value));
    known_.emplace(key, recent_.begin());
  }

  std::size_t size() const noexcept { return known_.size(); }

 private:
  using Entry = std::pair<Key, Value>;

  std::size_t capacity_;
  std::list<Entry> recent_;  ///< latest use first
  std::unordered_map<Key, typename std::list<Entry>::iterator, Hash> known_;
};

}  // namespace sallyport::ktls
