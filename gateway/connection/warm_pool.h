// Fills the stocks of warm connections of one shard, and empties them.
#pragma once

#include <cstddef>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "gateway/backends/dial.h"
#include "gateway/backends/warm_stock.h"
#include "gateway/connection/shard_state.h"
#include "iouring/cancel.h"
#include "iouring/task.h"
#include "iouring/task_group.h"
#include "ktls/handshake/client_context.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// What a WarmStock says of its connections is done here: made for the endpoints of routes with
/// `warm`, by the rules of the generation in force, and verified as a client's would be; closed
/// where anything changes that they were made by (policy, endpoint, trust, our certificate), where
/// time goes by for what was verified, and where an endpoint is not good (Standing) or full. An
/// endpoint that fails gets the trials of AddressHealth, so that no client has to make them.
///
/// The shard's thread. `shard` outlives it; run() has ended before its end.
class WarmPool final : private WarmKeeper {
 public:
  /// Which part of the process's warm connections it has.
  struct Part {
    unsigned shard = 0, shards = 1;
    std::size_t most = 0;  ///< of all its endpoints: what descriptors carry
  };

  WarmPool(ShardState& shard, const Part& part);
  WarmPool(const WarmPool&) = delete;
  WarmPool& operator=(const WarmPool&) = delete;
  ~WarmPool();

  /// Another generation is in force, and ShardState::balancer has its endpoints. For the first one,
  /// before run().
  void update();
  /// Closes all, and makes none any more.
  void stop();
  /// Until its scope is cancelled; then all are closed.
  iouring::Task<void> run();

 private:
  struct Stock {
    std::shared_ptr<WarmStock> stock;
    std::shared_ptr<ktls::ClientContext> context;  // null: plaintext
    bool in_force = false;                         // of the generation, while update() runs
  };
  using Made = std::expected<std::unique_ptr<ReadyConnection>, OpeningFailure>;
  using Stocks = std::unordered_map<std::uint64_t, Stock>;  // by the endpoint's id

  void fill(WarmStock& stock) override;
  [[nodiscard]] bool holds(const WarmStock& stock, const ReadyConnection& ready) const override;

  void update_route(const std::shared_ptr<const Route>& route);
  [[nodiscard]] bool needs_one(const WarmStock& stock) const;
  void begin_filling();
  iouring::Task<void> fill_up(std::shared_ptr<WarmStock> stock);
  iouring::Task<void> make_one(WarmStock& stock);
  iouring::Task<std::unique_ptr<ReadyConnection>> connect(WarmStock& stock);
  iouring::Task<Made> connect_and_open(WarmStock& stock);
  [[nodiscard]] const Stock* find(const WarmStock& stock) const;
  void look_at(WarmStock& stock);
  iouring::Task<void> look_at_all();

  ShardState& shard_;
  const Part part_;
  metrics::ListenerCells& cells_;
  iouring::TaskGroup tasks_;  // what waits, and what is being made
  std::map<std::string, Stocks, std::less<>> routes_;
  std::deque<std::shared_ptr<WarmStock>> to_fill_;  // none twice
  unsigned filling_ = 0;
  unsigned looks_ = 0;
  bool stopped_ = false;
  iouring::CancelScope* sleeping_ = nullptr;  // set while run() sleeps
};

}  // namespace sallyport::gateway
