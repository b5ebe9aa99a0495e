// For whom a backend is asked to prove who it is.
#pragma once

#include <cstdint>
#include <string_view>

#include "gateway/connection/live_connection.h"
#include "gateway/connection/shard_state.h"
#include "iouring/cancel.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// A client; or nobody yet, where the connection is made ahead of one. It refers to what it is made
/// of, which outlives it.
class BackendCaller {
 public:
  explicit BackendCaller(LiveConnection& connection) noexcept
      : client_(&connection),
        shard_(connection.shard()),
        cells_(connection.route_cells()),
        scope_(connection.scope()) {}
  /// Nobody: counted in `cells`; `scope`, that of the handshake, is cancelled where that is shed.
  BackendCaller(ShardState& shard, metrics::RouteCells& cells, iouring::CancelScope& scope) noexcept
      : shard_(shard), cells_(cells), scope_(scope) {}

  [[nodiscard]] bool has_client() const noexcept { return client_ != nullptr; }
  [[nodiscard]] ShardState& shard() const noexcept { return shard_; }
  [[nodiscard]] metrics::RouteCells& route_cells() const noexcept { return cells_; }
  /// By which handshakes that wait are counted: that of the client, one for all that have none.
  [[nodiscard]] std::uint64_t network() const {
    return client_ != nullptr ? client_->client().network() : 0;
  }
  /// The protocol that was confirmed to the client; empty: none.
  [[nodiscard]] std::string_view alpn() const {
    return client_ != nullptr ? client_->alpn() : std::string_view();
  }
  /// Its end has begun.
  [[nodiscard]] bool ended() const noexcept {
    return client_ != nullptr ? client_->ended_by().has_value() : scope_.cancelled();
  }
  /// Its handshake has to make room for others.
  void shed() noexcept {
    if (client_ != nullptr) return client_->end(CloseReason::kShed);
    scope_.cancel();
  }

 private:
  LiveConnection* client_ = nullptr;
  ShardState& shard_;
  metrics::RouteCells& cells_;
  iouring::CancelScope& scope_;
};

}  // namespace sallyport::gateway
