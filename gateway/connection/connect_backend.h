// From an established client to a backend: the phase backend.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <vector>

#include "gateway/backends/dial.h"
#include "gateway/backends/warm_stock.h"
#include "gateway/connection/refusal.h"
#include "gateway/connection/shard_state.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// Connects to an endpoint of the client's route, or to the next one if that refuses or is silent,
/// within the connect timeout (dial()), counts how often it went on, enters it in LiveConnection,
/// and judges it (judge_new_backend()). The client is watched meanwhile: if it leaves, the attempt
/// is cancelled; what it sends is in Client::early. `certificate` is the client's, in DER, for a
/// PROXY header that is to have it; empty: the handshake did not keep it.
[[nodiscard]] iouring::Task<std::expected<std::unique_ptr<ktls::RecordLayer>, RefusalPtr>>
connect_backend(Client& client, std::vector<std::byte> certificate = {});

/// Starts the records with a backend that has proven who it is, by what shake_hands() gave.
/// ReadyConnection::place is empty.
[[nodiscard]] std::expected<std::unique_ptr<ReadyConnection>, RefusalPtr> start_backend_tls(
    ShardState& shard, iouring::Socket backend, OpenedTls tls);

}  // namespace sallyport::gateway
