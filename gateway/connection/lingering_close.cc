#include "gateway/connection/lingering_close.h"

#include <chrono>

#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {
namespace {

// How long, and for how many bytes, somebody who is being left may keep us.
constexpr std::chrono::milliseconds kMoment{1'000};
constexpr std::size_t kMostDrained = 256 * 1024;

iouring::Task<void> shut_and_drain(ShardState& shard, iouring::Socket& client) {
  iouring::Result<> shut = co_await client.shutdown_write();
  if (!shut) co_return;  // gone already
  for (std::size_t drained = 0; drained < kMostDrained;) {
    iouring::Result<iouring::Lease> received = co_await client.recv(shard.pools.small);
    if (!received || received->bytes().empty()) co_return;
    drained += received->bytes().size();
  }
}

// Its own root scope: the connection's may be cancelled already, which is often why we part.
iouring::Task<void> within_a_moment(ShardState& shard, iouring::Task<void> task) {
  iouring::CancelScope scope;
  iouring::Deadline deadline(shard.ring, scope);
  deadline.arm(kMoment);
  co_await iouring::in_scope(scope, std::move(task));
}

iouring::Task<void> plaintext_alert_then_drain(ShardState& shard, iouring::Socket& client,
                                               ktls::AlertDescription alert) {
  const auto record = ktls::plaintext_alert(alert);
  iouring::Result<> sent = co_await client.send_all(record);
  if (!sent) co_return;
  co_await shut_and_drain(shard, client);
}

iouring::Task<void> alert_then_drain(ShardState& shard, ktls::RecordLayer& client,
                                     ktls::AlertDescription alert) {
  ktls::RecordLayer::SendResult sent = co_await client.send_alert(alert);
  if (!sent) co_return;
  co_await shut_and_drain(shard, client.socket());
}

iouring::Task<void> close_then_drain(ShardState& shard, ktls::RecordLayer& client) {
  ktls::RecordLayer::SendResult sent = co_await client.send_close();
  if (!sent) co_return;
  co_await shut_and_drain(shard, client.socket());
}

}  // namespace

iouring::Task<void> part(ShardState& shard, iouring::Socket& client) {
  co_await within_a_moment(shard, shut_and_drain(shard, client));
}

iouring::Task<void> part_with_plaintext_alert(ShardState& shard, iouring::Socket& client,
                                              ktls::AlertDescription alert) {
  co_await within_a_moment(shard, plaintext_alert_then_drain(shard, client, alert));
}

iouring::Task<void> part_with_alert(ShardState& shard, ktls::RecordLayer& client,
                                    ktls::AlertDescription alert) {
  co_await within_a_moment(shard, alert_then_drain(shard, client, alert));
}

iouring::Task<void> part_with_close(ShardState& shard, ktls::RecordLayer& client) {
  co_await within_a_moment(shard, close_then_drain(shard, client));
}

}  // namespace sallyport::gateway
