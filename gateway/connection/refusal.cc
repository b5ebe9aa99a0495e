#include "gateway/connection/refusal.h"

#include <utility>

#include "gateway/connection/client.h"
#include "gateway/connection/lingering_close.h"
#include "gateway/connection/start_records.h"

namespace sallyport::gateway {
namespace {

// The alert that a refusal under the application keys carries.
ktls::AlertDescription alert_of(CloseReason reason) {
  if (const auto alert = alert_of_live(reason)) return *alert;
  return ktls::alert_for(handshake_result(reason)).value_or(ktls::AlertDescription::kInternalError);
}

// Of what ends live connections at a quiet moment: a client that was never relayed had no other. A
// backend that has expired is refused like every other.
bool ends_cleanly(CloseReason reason) {
  return prefers_quiet_moment(reason) && reason != CloseReason::kBackendExpired;
}

bool is_of_route(CloseReason reason) {
  return reason == CloseReason::kNoRoute || reason == CloseReason::kNoApplicationProtocol;
}

// Where nothing was answered yet, the alert goes out in plaintext.
bool is_before_crypto(CloseReason reason) {
  return reason == CloseReason::kShed || reason == CloseReason::kLimitReached;
}

// OpenSSL, suspended at the ClientHello, ends with the alert of the refusal.
iouring::Task<void> reject_hello(ShardState& shard, Handshake& handshake, Refusal& why) {
  ktls::ServerHandshake& tls = *handshake.tls;
  tls.reject({.result = handshake_result(why.reason),
              .detail = why.reason == CloseReason::kNoRoute
                            ? "no route for this server name"
                            : "no route for these application protocols"});
  iouring::Result<> ran = co_await worker_for_step(shard).run(
      iouring::Rank::kStarted, [&tls] { [[maybe_unused]] const auto failed = tls.advance(); });
  if (!ran) co_return;
  why.failure = tls.failure();
  [[maybe_unused]] iouring::Result<> sent = co_await send_output(handshake);
}

// What the handshake knows of its client, which goes with it.
void complete_facts(const Client& client, Refusal& why) {
  if (!client.handshake || !client.handshake->tls) return;
  const ktls::ServerHandshake& tls = *client.handshake->tls;
  why.alpn_offered = alpn_offered(tls.hello());
  if (!why.failure.presented) why.failure.presented = tls.unproven();
}

// The steps of --explain: a refusal names the one that failed, and those before it have passed.
void complete_steps(const LiveConnection& connection, Refusal& why, bool at_hello) {
  ktls::JudgementSteps& steps = why.failure.steps;
  if (at_hello && is_of_route(why.reason))
    return steps.push_back({"route", false, why.failure.detail});
  if (why.reason == CloseReason::kCertificateRequired)
    steps.push_back({"chain", false, why.failure.detail});
  if (!steps.empty()) steps.insert(steps.begin(), {"route", true, connection.route().name});
}

// 50 to 65 KiB that the lingering close does not need.
iouring::Task<void> free_openssl(ShardState& shard, Handshake& handshake) {
  iouring::Result<> ran = co_await worker_for_step(shard).run(
      iouring::Rank::kStarted, [&handshake] { handshake.tls.reset(); });
  if (!ran) handshake.tls.reset();  // not within the lingering time
}

iouring::Task<void> tell_by_records(Client& client, CloseReason reason) {
  ShardState& shard = client.connection.shard();
  if (client.connection.is_egress()) {
    client.records->socket().reset();  // any other end is a clean one, in plaintext
  } else if (ends_cleanly(reason)) {
    co_await close_with_close_notify(shard, *client.records);
  } else {
    co_await close_with_alert(shard, *client.records, alert_of(reason));
  }
}

iouring::Task<void> tell(Client& client, CloseReason reason) {
  ShardState& shard = client.connection.shard();
  if (client.handshake && client.handshake->authenticated) {
    if (reason == CloseReason::kPeerConnectionClosed) co_return;
    co_await within_lingering_time(shard, start_records_for_refusal(client));
  }
  if (client.records) {
    if (reason != CloseReason::kPeerConnectionClosed) co_await tell_by_records(client, reason);
  } else if (client.handshake) {
    if (client.handshake->tls) {
      client.handshake->work(shard.handshake_slots.enter_now());  // cannot be shed meanwhile
      co_await within_lingering_time(shard, free_openssl(shard, *client.handshake));
    }
    client.handshake->end();
    iouring::Socket& socket = client.handshake->socket;
    if (reason == CloseReason::kProxyHeaderInvalid) {
      socket.reset();
    } else if (is_before_crypto(reason) && !client.handshake->answered) {
      co_await close_with_plaintext_alert(shard, socket, ktls::AlertDescription::kInternalError);
    } else {
      co_await linger(shard, socket);
    }
  }
}

}  // namespace

std::vector<std::string> alpn_offered(const ktls::ClientHello& hello) {
  std::vector<std::string> offered;
  for (const std::string_view protocol : hello.alpn) {
    if (offered.size() == ktls::PresentedCertificate::kMaxNames) break;
    offered.push_back(ktls::cut(protocol));
  }
  return offered;
}

[[gnu::noinline]] iouring::Task<void> refuse(Client& client, RefusalPtr why) {
  LiveConnection& connection = client.connection;
  const bool at_hello = client.handshake && client.handshake->tls && !connection.grant().route;
  if (at_hello && is_of_route(why->reason)) {
    co_await within_lingering_time(connection.shard(),
                                   reject_hello(connection.shard(), *client.handshake, *why));
  }
  if (const auto ended = connection.ended_by()) {
    why->reason = *ended;
    if (*ended == CloseReason::kShed) {
      why->failure.detail = "--handshake-memory reached, and this client waited longest";
    }
  }
  const CloseReason reason = why->reason;
  if (reason == CloseReason::kClosedBeforeHello) {
    connection.set_reason(reason);
    co_return;
  }
  if (client.handshake && is_before_crypto(reason) && !connection.handshake_started()) {
    connection.start_handshake();
  }
  complete_facts(client, *why);
  complete_steps(connection, *why, at_hello);
  connection.set_refused(std::move(why));
  co_await tell(client, reason);
}

}  // namespace sallyport::gateway
