// The relay alone: a TLS peer and a plain peer over loopback TCP, no handshake, no gateway.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "gateway/connection/backend_linger.h"
#include "gateway/connection/client.h"
#include "gateway/connection/live_connection.h"
#include "gateway/connection/relay.h"
#include "gateway/policy/route.h"
#include "iouring/both.h"
#include "tests/gateway/connection/shard_fixture.h"

namespace sallyport::gateway {

using iouring::Task;
using ktls::testing::Bytes;
using ktls::testing::Layer;
using ktls::testing::Story;
using Kind = ktls::Received::Kind;

class RelayTest : public ShardTest {
 protected:
  explicit RelayTest(const iouring::RingOptions& ring = {}) : ShardTest({}, ring) {
    // Short: a backend that does not answer is waited for in real time.
    timeouts_.answered = std::chrono::milliseconds(20);
    timeouts_.unanswered = std::chrono::milliseconds(60);
    route_.name = "orders";
    route_.allow_any_verified = true;
  }
  void SetUp() override { make_ends(); }

  // Client and backend as seen from outside, and our ends of both.
  void make_ends() {
    Snapshot snapshot;
    snapshot.policy = *Policy::build({route_});
    serve_with(std::move(snapshot));
    auto outer = iouring::tcp_pair(*shard_.ring);
    auto inner = iouring::tcp_pair(*shard_.ring);
    const ktls::SessionState session =
        ktls::testing::session_of(ktls::CipherSuite::kAes128GcmSha256);
    client_peer_ = ktls::userspace_records(std::move(outer.left), ktls::testing::mirrored(session),
                                           shard_.pools(), {}, ktls::Role::kClient);
    backend_peer_ = ktls::plain_records(std::move(inner.left), shard_.pools());
    backend_ = ktls::plain_records(std::move(inner.right), shard_.pools());
    connection_ =
        std::make_unique<LiveConnection>(state_, served_, scope_.emplace(), iouring::PeerAddress());
    connection_->start_handshake();
    const auto& policy = state_.snapshot->policy;
    const auto chosen = choose(*policy, {}, {});
    ASSERT_TRUE(chosen);
    connection_->set_route(std::shared_ptr<const Route>(policy, chosen->route), {});
    client_ = std::make_unique<Client>(*connection_, iouring::Socket());
    client_->handshake.reset();
    client_->records = ktls::userspace_records(std::move(outer.right), session, shard_.pools());
  }

  void with_truncation(Truncation truncation) {
    route_.truncation = truncation;
    client_.reset();
    connection_.reset();
    make_ends();
  }

  // The client is an application of this machine.
  void with_plaintext_from_client() {
    served_.egress_route = route_.name;
    client_peer_ = ktls::plain_records(std::move(client_peer_->socket()), shard_.pools());
    client_->records = ktls::plain_records(std::move(client_->records->socket()), shard_.pools());
  }

  // The leg to the backend speaks TLS from here on.
  void with_tls_to_backend() {
    const ktls::SessionState session =
        ktls::testing::session_of(ktls::CipherSuite::kAes128GcmSha256);
    backend_peer_ =
        ktls::userspace_records(std::move(backend_peer_->socket()), session, shard_.pools());
    backend_ =
        ktls::userspace_records(std::move(backend_->socket()), ktls::testing::mirrored(session),
                                shard_.pools(), {}, ktls::Role::kClient);
  }

  Task<void> relay_to_end() {
    const RelayEnd end =
        co_await iouring::in_scope(connection_->scope(), relay(*client_, *backend_));
    reason_ = end.reason;
    connection_->set_reason(reason_);
    client_->records.reset();
    if (end.lingers) {
      co_await iouring::in_scope(connection_->scope(),
                                 linger_for_backend(*connection_, *backend_, *end.lingers));
    }
    backend_.reset();
  }

  Task<void> beside_relay(Task<void> peers) {
    co_await iouring::both(relay_to_end(), std::move(peers));
  }
  void run(Task<void> peers) { shard_.ring->run(beside_relay(std::move(peers))); }

  Route route_;
  std::optional<iouring::CancelScope> scope_;
  std::unique_ptr<LiveConnection> connection_;
  std::unique_ptr<Client> client_;
  Layer client_peer_, backend_peer_, backend_;
  CloseReason reason_ = CloseReason::kInternalError;
};

}  // namespace sallyport::gateway
