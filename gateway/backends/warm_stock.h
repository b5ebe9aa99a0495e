// The connections of one shard to one endpoint that wait for a client: "warm" of a route.
//
// Whose they are. A shard's WarmPool has a stock for each endpoint of the routes with `warm` and
// fills it; shards share nothing but the endpoint's count of connections. `min` and `max` are meant
// for the whole process: each shard has its part (part_of_shard()), so that there are never more.
//
// How one waits. It is connected, and verified where the route has TLS; a receive is pending, in
// which the tickets of a TLS server are taken. Whatever else arrives, a FIN, a reset, bytes that
// nobody has asked for, takes it out of the stock at once. It waits no longer than `max-idle`, less
// up to a tenth by chance, and is made anew where that many are wanted.
//
// How many. WarmLevel follows the demand, WarmPace bounds how fast it is followed: one at a time
// for an endpoint, and a few at a time for all.
//
// How it is handed over. RouteBalance picks an endpoint as if there were no stock: warm connections
// are no load. Then the pick claims the one that was made last, so that those which nobody needs
// grow old and leave. Its holder waits until the pending receive has been cancelled, looks once
// more whether something came, and has it judged. What does not pass is closed, and the same
// endpoint is connected to: a miss.
//
// What it counts as. A connection of its endpoint, from before it is made until it is closed:
// backend_connections and max-connections-per-endpoint have it. Its place is the client's from the
// claim on, so that an endpoint is not full for a shard that has one ready. None is made into the
// last place of an endpoint, and where all places are taken those that wait are given up.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "gateway/backends/endpoints.h"
#include "gateway/backends/warm_level.h"
#include "gateway/policy/policy.h"
#include "iouring/cancel.h"
#include "iouring/list.h"
#include "iouring/ring.h"
#include "iouring/task.h"
#include "iouring/task_group.h"
#include "ktls/records/record_layer.h"
#include "ktls/trust/peer_trust.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

class WarmStock;

/// One connection in EndpointLife's count, for as long as this lives; or none.
class EndpointPlace {
 public:
  EndpointPlace() = default;
  /// None: the endpoint has `most` (0: no limit) already.
  static EndpointPlace enter(std::shared_ptr<EndpointLife> life, std::uint32_t most);
  EndpointPlace(EndpointPlace&& other) noexcept = default;
  EndpointPlace& operator=(EndpointPlace&& other) noexcept {
    std::swap(life_, other.life_);
    return *this;
  }
  ~EndpointPlace() {
    if (life_) life_->leave();
  }
  /// Another holder calls leave() itself.
  void hand_over() { life_.reset(); }
  explicit operator bool() const { return life_ != nullptr; }

 private:
  explicit EndpointPlace(std::shared_ptr<EndpointLife> life) : life_(std::move(life)) {}
  std::shared_ptr<EndpointLife> life_;
};

/// Connected, and nothing of a client was sent on it.
struct ReadyConnection {
  EndpointPlace place;  ///< left behind the close
  std::unique_ptr<ktls::RecordLayer> records;
  std::shared_ptr<const ktls::PeerTrust> peer;  ///< who it has proven to be; null: plaintext
  bool resumed = false;
};

/// What a stock asks of its shard.
class WarmKeeper {
 public:
  /// There may be fewer than are wanted.
  virtual void fill(WarmStock& stock) = 0;
  /// Whether what was verified when it was made holds now.
  [[nodiscard]] virtual bool holds(const WarmStock& stock, const ReadyConnection& ready) const = 0;

 protected:
  WarmKeeper() = default;
  ~WarmKeeper() = default;
};

/// The one connection of a stock that a pick has got. Move-only; one that is not taken is closed.
class WarmClaim {
 public:
  WarmClaim(WarmClaim&& other) noexcept = default;
  WarmClaim& operator=(WarmClaim&& other) noexcept {
    std::swap(waiting_, other.waiting_);
    return *this;
  }
  ~WarmClaim();

  /// By what route's rules it was made.
  [[nodiscard]] const Route& route() const;
  /// Once. Null: it is none any more. Not cancelled, since it does not wait for the peer.
  [[nodiscard]] iouring::Task<std::unique_ptr<ReadyConnection>> take();

 private:
  friend class WarmStock;
  struct Waiting;
  class Over;
  explicit WarmClaim(std::shared_ptr<Waiting> waiting) noexcept;

  std::shared_ptr<Waiting> waiting_;  // null: moved from
};

/// Of the shard's thread. Held by a shared_ptr: what waits in it holds it, too.
class WarmStock final : public std::enable_shared_from_this<WarmStock> {
 public:
  struct Settings {
    std::shared_ptr<const Route> route;  ///< and with it the policy; has `warm`
    std::shared_ptr<const Endpoint> endpoint;
    std::uint32_t min = 0, max = 0;  ///< of this shard
  };

  /// `keeper`, `ring` and `tasks` outlive what waits in it, `cells` the stock.
  WarmStock(Settings settings, WarmKeeper& keeper, iouring::Ring& ring, iouring::TaskGroup& tasks,
            metrics::RouteCells& cells);
  ~WarmStock();

  // ---- for picks

  [[nodiscard]] bool any_ready() const noexcept { return ready_ > 0; }
  /// The youngest, with its place at the endpoint, which the caller leaves from now on; none: there
  /// is none, and that counts as demand.
  [[nodiscard]] std::optional<WarmClaim> claim();

  // ---- for the keeper

  /// It waits from now on, for `time` at most.
  void add(std::unique_ptr<ReadyConnection> connection, std::chrono::milliseconds time);
  /// No connection could be made.
  void failed();
  [[nodiscard]] bool wants_more() const noexcept { return !retired_ && ready_ < level_.wanted(); }
  [[nodiscard]] iouring::TimePoint next_fill() const noexcept { return pace_.next(); }
  /// Closes the oldest, so many at most.
  void give_up(std::size_t most);
  /// Closes those that do not hold any more.
  void judge();
  /// Its route or its endpoint has gone or changed: closes all, and wants none.
  void retire();

  [[nodiscard]] const std::shared_ptr<const Route>& route() const noexcept {
    return settings_.route;
  }
  [[nodiscard]] const std::shared_ptr<const Endpoint>& endpoint() const noexcept {
    return settings_.endpoint;
  }
  [[nodiscard]] std::size_t ready() const noexcept { return ready_; }
  /// Under which connections for it are made: cancelled by retire().
  [[nodiscard]] iouring::CancelScope& scope() noexcept { return scope_; }
  /// The keeper is at it.
  bool being_filled = false;

 private:
  friend class WarmClaim;
  using Waiting = WarmClaim::Waiting;

  static iouring::Task<void> watch(std::shared_ptr<Waiting> waiting);
  void remove(Waiting& waiting) noexcept;
  void give_up(Waiting& waiting) noexcept;

  const Settings settings_;
  WarmKeeper& keeper_;
  iouring::Ring& ring_;
  iouring::TaskGroup& tasks_;
  metrics::RouteCells& cells_;
  WarmLevel level_;
  WarmPace pace_;
  iouring::CancelScope scope_;
  iouring::List<Waiting> waiting_;  // the oldest first
  std::size_t ready_ = 0;           // of them
  bool retired_ = false;
};

}  // namespace sallyport::gateway
