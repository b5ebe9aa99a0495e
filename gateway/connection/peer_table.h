// The peers of a shard: who is connected, and who was within the hour.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/connection/peer_slice.h"
#include "iouring/list.h"
#include "ktls/trust/peer_trust.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// One entry for each distinct (trust, route, listener), whatever policy and credentials let the
/// connections in: a route is its name. An entry leaves kKept after its last connection, or when
/// kMostGone younger ones are without. Outlives its handles. Shard's thread only.
class PeerTable {
  struct Entry;

 public:
  static constexpr std::chrono::hours kKept{1};
  /// What clients with ever new certificates can make a shard remember.
  static constexpr std::size_t kMostGone = 10'000;

  using Time = std::chrono::sys_time<std::chrono::milliseconds>;

  /// `metrics` are told of the soonest expiry of each route, and outlive the table.
  PeerTable(metrics::ShardMetrics& metrics, Time (*now)());
  ~PeerTable();
  PeerTable(const PeerTable&) = delete;
  PeerTable& operator=(const PeerTable&) = delete;

  /// The peer of one connection, which counts as connected for as long as it holds this. The size
  /// of a pointer. Empty if made without arguments.
  class Handle {
   public:
    Handle() = default;
    /// Of a peer that is in no table: authenticated, and not let in yet.
    explicit Handle(std::shared_ptr<const ktls::PeerTrust> trust);
    Handle(Handle&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
    Handle& operator=(Handle&& other) noexcept {
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Handle();

    explicit operator bool() const noexcept { return entry_ != nullptr; }
    [[nodiscard]] const ktls::PeerTrust& operator*() const noexcept { return *trust(); }
    [[nodiscard]] const ktls::PeerTrust* operator->() const noexcept { return trust().get(); }
    [[nodiscard]] const std::shared_ptr<const ktls::PeerTrust>& trust() const noexcept;

   private:
    friend class PeerTable;
    explicit Handle(Entry& entry) noexcept;
    Entry* entry_ = nullptr;
  };

  /// A connection was let in. `listener` outlives the table.
  [[nodiscard]] Handle enter(const std::shared_ptr<const ktls::PeerTrust>& trust,
                             std::string_view route, std::string_view listener);

  /// Copies entries of `which` that are behind the one of number `after`, oldest first: up to
  /// `most`, and none more once `turn` is over. The cursor of the slice has no shard.
  [[nodiscard]] PeerSlice describe(std::uint64_t after, std::size_t most, WhichPeers which,
                                   std::chrono::steady_clock::duration turn) const;

  /// Lets some go that are too old. enter() does it as well: this is for a shard without clients.
  void forget_old();

  /// Entries, with and without connections.
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Route {
    std::map<std::chrono::sys_seconds, std::size_t> expiries;  // of how many peers with connections
    metrics::Moment& soonest;
  };
  using Routes = std::map<std::string, Route, std::less<>>;

  [[nodiscard]] Entry* find(std::size_t hash, const ktls::PeerTrust& trust, std::string_view route,
                            std::string_view listener) const;
  [[nodiscard]] Routes::value_type& route_of(std::string_view name);
  void connected(Entry& entry);
  void gone(Entry& entry);
  void forget_some(std::size_t most);
  [[nodiscard]] bool is_old(const Entry& entry) const;

  metrics::ShardMetrics& metrics_;
  Time (*now_)();
  Routes routes_;  // never fewer: configured names only
  std::uint64_t last_number_ = 0;
  std::map<std::uint64_t, Entry> entries_;
  // By a hash, and yet a tree: a table of 100,000 that grows holds the shard for milliseconds.
  std::multimap<std::size_t, Entry*> known_;
  iouring::List<Entry> gone_;  // without connections, longest first
  std::size_t gone_count_ = 0;
};

}  // namespace sallyport::gateway
