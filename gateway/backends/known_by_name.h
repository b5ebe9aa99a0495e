#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace sallyport::gateway {

/// What is known by name for as long as it is held elsewhere; holds nothing itself. One thread, but
/// what it knows may be let go of on any.
template <class T>
class KnownByName {
 public:
  /// Null: it is not held any more.
  [[nodiscard]] std::shared_ptr<T> find(const std::string& name) const {
    const auto found = known_.find(name);
    return found == known_.end() ? nullptr : found->second.lock();
  }
  [[nodiscard]] std::shared_ptr<T> find_or_make(const std::string& name) {
    std::shared_ptr<T> known = find(name);
    return known ? known : make(name);
  }
  /// In place of what is known by that name.
  [[nodiscard]] std::shared_ptr<T> make(const std::string& name) {
    // Names of what is not held go when as many came as had stayed: a step for each that comes.
    if (known_.size() >= sweep_at_) {
      std::erase_if(known_, [](const auto& each) { return each.second.expired(); });
      sweep_at_ = std::max(kFewest, 2 * known_.size());
    }
    auto made = std::make_shared<T>();
    known_.insert_or_assign(name, made);
    return made;
  }
  [[nodiscard]] std::size_t size() const noexcept { return known_.size(); }

 private:
  static constexpr std::size_t kFewest = 64;

  std::unordered_map<std::string, std::weak_ptr<T>> known_;
  std::size_t sweep_at_ = kFewest;
};

}  // namespace sallyport::gateway
