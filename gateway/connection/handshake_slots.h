// At most so many handshakes with work at a time on one shard. New ones wait by turns of the
// networks that they come from, and in order of arrival within each.
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

/// --max-handshakes. A client of a network with few waiters is not kept waiting by those of a
/// network with many. Belongs to one shard; outlives every Slot and every enter().
class HandshakeSlots {
 public:
  HandshakeSlots(iouring::Ring& ring, unsigned most) noexcept : ring_(&ring), most_(most) {}
  HandshakeSlots(const HandshakeSlots&) = delete;
  HandshakeSlots& operator=(const HandshakeSlots&) = delete;

  /// One handshake's place, given back by the destructor.
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
    friend class HandshakeSlots;
    explicit Slot(HandshakeSlots& slots) noexcept : slots_(&slots) {}
    HandshakeSlots* slots_ = nullptr;
  };

  /// `iouring::Result<Slot> slot = co_await slots.enter(network);`: waits for a free place;
  /// ECANCELED when the scope of the caller was cancelled first. `network` is the client's
  /// PeerAddress::network().
  class Enter;
  [[nodiscard]] Enter enter(std::uint64_t network) noexcept;

  /// A slot at once, above the limit if need be: for a handshake that was begun, so that those that
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
  struct Network : iouring::ListNode {
    explicit Network(std::uint64_t its_address) noexcept : address(its_address) {}
    std::uint64_t address;
    iouring::List<Place> waiting;  // never empty
  };
  void add(Enter& enter);
  void remove(Enter& enter) noexcept;
  void leave() noexcept;

  iouring::Ring* ring_;
  std::size_t most_;
  std::size_t in_use_ = 0;
  std::unordered_map<std::uint64_t, Network> networks_;
  iouring::List<Network> turns_;  // all networks, the one whose turn it is first
};

class [[nodiscard]] HandshakeSlots::Enter final : private iouring::Waiter {
 public:
  Enter(HandshakeSlots& slots, std::uint64_t address) noexcept
      : slots_(&slots), address_(address) {}

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
  friend class HandshakeSlots;
  bool wait(std::coroutine_handle<> awaiting, iouring::CancelScope* scope);
  void on_cancel() noexcept override;
  void on_ready() noexcept override { awaiting_.resume(); }

  HandshakeSlots* slots_;
  std::uint64_t address_;
  Network* network_ = nullptr;  // while it waits
  Place place_{*this};
  std::coroutine_handle<> awaiting_;
  bool entered_ = false;
};

inline HandshakeSlots::Enter HandshakeSlots::enter(std::uint64_t network) noexcept {
  return {*this, network};
}

}  // namespace sallyport::gateway
