// At most so many of something under way at a time on one thread. New ones wait by turns of the
// groups that they belong to, and in order of arrival within each.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "iouring/cancel.h"
#include "iouring/list.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// One of a group with few waiters is not kept waiting by those of a group with many: handshakes of
/// clients by their networks, checks of endpoints by their routes. Belongs to one thread; outlives
/// every Slot and every enter().
class FairSlots {
 public:
  FairSlots(iouring::Ring& ring, unsigned most) noexcept : ring_(&ring), most_(most) {}
  FairSlots(const FairSlots&) = delete;
  FairSlots& operator=(const FairSlots&) = delete;

  /// A place, given back by the destructor.
  class Slot {
   public:
    Slot() noexcept = default;
    Slot(Slot&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)) {}
    Slot& operator=(Slot&& other) noexcept {
      std::swap(slots_, other.slots_);
      return *this;
    }
    ~Slot() {
      if (slots_ != nullptr) slots_->leave();
    }

   private:
    friend class FairSlots;
    explicit Slot(FairSlots& slots) noexcept : slots_(&slots) {}
    FairSlots* slots_ = nullptr;
  };

  /// `iouring::Result<Slot> slot = co_await slots.enter(group);`: waits for a free place; ECANCELED
  /// when the scope of the caller was cancelled first.
  class Enter;
  [[nodiscard]] Enter enter(std::uint64_t group) noexcept;

  /// A slot at once, above the limit if need be: for what was begun already, so that those that
  /// wait for a slot do not delay it.
  [[nodiscard]] Slot enter_now() noexcept {
    ++in_use_;
    return Slot(*this);
  }

  /// Whether enter() would wait.
  [[nodiscard]] bool full() const noexcept { return in_use_ >= most_; }
  [[nodiscard]] std::size_t in_use() const noexcept { return in_use_; }

 private:
  struct Place : iouring::ListNode {
    explicit Place(Enter& owner) noexcept : enter(&owner) {}
    Enter* enter;
  };
  struct Group : iouring::ListNode {
    explicit Group(std::uint64_t its_key) noexcept : key(its_key) {}
    std::uint64_t key;
    iouring::List<Place> waiting;  // never empty
  };
  void add(Enter& enter);
  void remove(Enter& enter) noexcept;
  void leave() noexcept;

  iouring::Ring* ring_;
  std::size_t most_;
  std::size_t in_use_ = 0;
  std::unordered_map<std::uint64_t, Group> groups_;
  iouring::List<Group> turns_;  // all groups, the one whose turn it is first
};

class [[nodiscard]] FairSlots::Enter final : private iouring::Waiter {
 public:
  Enter(FairSlots& slots, std::uint64_t key) noexcept : slots_(&slots), key_(key) {}

  bool await_ready() noexcept {
    if (slots_->full()) return false;
    ++slots_->in_use_;
    entered_ = true;
    return true;
  }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) {
    return wait(awaiting, iouring::scope_of(awaiting));
  }
  iouring::Result<Slot> await_resume() noexcept;

 private:
  friend class FairSlots;
  bool wait(std::coroutine_handle<> awaiting, iouring::CancelScope* scope);
  void on_cancel() noexcept override;
  void on_ready() noexcept override { awaiting_.resume(); }

  FairSlots* slots_;
  std::uint64_t key_;
  Group* group_ = nullptr;  // while it waits
  Place place_{*this};
  std::coroutine_handle<> awaiting_;
  bool entered_ = false;
};

inline FairSlots::Enter FairSlots::enter(std::uint64_t group) noexcept {
  return {*this, group};
}

}  // namespace sallyport::gateway
