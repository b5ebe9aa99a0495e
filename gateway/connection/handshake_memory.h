// --handshake-memory: what the handshakes of a shard may hold while they wait.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <unordered_map>

#include "iouring/list.h"
#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

/// Counts what waiting handshakes hold, by the networks of their clients. Above the limit the
/// longest waiter of the network with the most waiters is shed, of several such networks that with
/// the oldest handshake: clients of one host, however many
/// connections they open, cannot have the handshakes of other hosts shed. Belongs to one shard;
/// outlives every Holder.
class HandshakeMemory {
 public:
  /// A waiter whose handshake began less than this ago is shed only if all candidates are as young.
  static constexpr std::chrono::milliseconds kGrace{250};

  /// `limit` in bytes.
  explicit HandshakeMemory(std::size_t limit) noexcept;
  /// All holders have left.
  ~HandshakeMemory();
  HandshakeMemory(const HandshakeMemory&) = delete;
  HandshakeMemory& operator=(const HandshakeMemory&) = delete;

  /// A handshake, from its first byte to its end.
  class Holder;

  /// What all that wait hold, in bytes.
  [[nodiscard]] std::size_t held() const noexcept { return held_; }

 private:
  struct Network {
    std::uint64_t address = 0;
    iouring::List<Holder> holders{};  // oldest first
    std::size_t waiting = 0;          // of these
    iouring::TimePoint since{};       // of the oldest
  };
  struct MoreWaiting {
    bool operator()(const Network* a, const Network* b) const noexcept {
      if (a->waiting != b->waiting) return a->waiting > b->waiting;
      return a->since != b->since ? a->since < b->since : a->address < b->address;
    }
  };

  void set(Holder& holder, bool waiting, std::size_t bytes);
  void remove(Holder& holder);
  [[nodiscard]] Holder& choose(iouring::TimePoint now) noexcept;

  std::size_t limit_;
  std::size_t held_ = 0;
  std::unordered_map<std::uint64_t, Network> networks_;  // those of all holders
  std::set<Network*, MoreWaiting> by_waiting_;           // those with waiters
};

class HandshakeMemory::Holder : private iouring::ListNode {
 public:
  Holder() noexcept = default;
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  /// Called once, when the first byte has arrived. `network` is the client's
  /// PeerAddress::network().
  void join(HandshakeMemory& memory, std::uint64_t network, iouring::TimePoint now);
  /// The handshake waits and holds so many bytes; called again when they change. Handshakes are
  /// shed, perhaps this one, until all that wait are within the limit. No effect before join() and
  /// after leave().
  void set_waiting(std::size_t bytes, iouring::TimePoint now);
  /// The handshake has work, and counts against --max-handshakes instead.
  void set_working();
  /// The handshake ends, and what it held is freed or counts elsewhere. No effect when repeated.
  void leave();

 protected:
  ~Holder() { leave(); }
  /// The handshake is shed, and has left; the memory that it holds is to be freed soon. Called from
  /// set_waiting() of any holder, also of this one.
  virtual void on_shed() noexcept = 0;

 private:
  friend class HandshakeMemory;
  friend class iouring::List<Holder>;

  HandshakeMemory* memory_ = nullptr;  // null: not joined, or left
  Network* network_ = nullptr;
  iouring::TimePoint since_{};  // of join()
  std::size_t bytes_ = 0;       // counted; 0 while it works
  bool waiting_ = false;
};

}  // namespace sallyport::gateway
