#include "gateway/connection/lingering_close.h"

#include <cstddef>

#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {
namespace {

// For how many bytes a peer may delay the close; how long: Timeouts::lingering_close. An
// authenticated one may be in the middle of a transfer, of which the kernels hold some MiB.
constexpr std::size_t kMostOfStranger = std::size_t{256} << 10;
constexpr std::size_t kMostOfPeer = std::size_t{64} << 20;

iouring::Task<void> shut_and_drain(ShardState& shard, iouring::Socket& client, std::size_t most) {
  iouring::Result<> shut = co_await client.shutdown_write();
  if (!shut) co_return;  // gone already
  for (std::size_t drained = 0; drained < most;) {
    iouring::Result<iouring::Lease> received = co_await client.recv(shard.pools.small);
    if (!received || received->bytes().empty()) co_return;
    drained += received->bytes().size();
  }
}

iouring::Task<void> plaintext_alert_then_drain(ShardState& shard, iouring::Socket& client,
                                               ktls::AlertDescription alert) {
  const auto record = ktls::plaintext_alert(alert);
  iouring::Result<> sent = co_await client.send_all(record);
  if (!sent) co_return;
  co_await shut_and_drain(shard, client, kMostOfStranger);
}

iouring::Task<void> alert_then_drain(ShardState& shard, ktls::RecordLayer& client,
                                     ktls::AlertDescription alert) {
  ktls::RecordLayer::SendResult sent = co_await client.send_alert(alert);
  if (!sent) co_return;
  co_await shut_and_drain(shard, client.socket(), kMostOfPeer);
}

iouring::Task<void> close_then_drain(ShardState& shard, ktls::RecordLayer& client) {
  ktls::RecordLayer::SendResult sent = co_await client.send_close();
  if (!sent) co_return;
  co_await shut_and_drain(shard, client.socket(), kMostOfPeer);
}

iouring::Task<void> fin_then_drain(ShardState& shard, ktls::RecordLayer& client) {
  ktls::RecordLayer::SendResult sent = co_await client.send_fin();
  if (!sent) co_return;
  co_await shut_and_drain(shard, client.socket(), kMostOfPeer);
}

}  // namespace

iouring::Task<void> within_lingering_time(ShardState& shard, iouring::Task<void> task) {
  iouring::CancelScope scope;
  iouring::Deadline deadline(shard.ring, scope);
  deadline.arm(shard.timeouts.lingering_close);
  co_await iouring::in_scope(scope, std::move(task));
}

iouring::Task<void> linger(ShardState& shard, iouring::Socket& client) {
  co_await within_lingering_time(shard, shut_and_drain(shard, client, kMostOfStranger));
}

iouring::Task<void> close_with_plaintext_alert(ShardState& shard, iouring::Socket& client,
                                               ktls::AlertDescription alert) {
  co_await within_lingering_time(shard, plaintext_alert_then_drain(shard, client, alert));
}

iouring::Task<void> close_with_alert(ShardState& shard, ktls::RecordLayer& client,
                                     ktls::AlertDescription alert) {
  co_await within_lingering_time(shard, alert_then_drain(shard, client, alert));
}

iouring::Task<void> close_with_close_notify(ShardState& shard, ktls::RecordLayer& client) {
  co_await within_lingering_time(shard, close_then_drain(shard, client));
}

iouring::Task<void> close_with_fin(ShardState& shard, ktls::RecordLayer& client) {
  co_await within_lingering_time(shard, fin_then_drain(shard, client));
}

}  // namespace sallyport::gateway
