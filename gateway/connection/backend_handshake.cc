#include "gateway/connection/backend_handshake.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backends/expected_backend.h"
#include "gateway/backends/tls_opening.h"
#include "gateway/connection/backend_sessions.h"
#include "gateway/connection/fair_slots.h"
#include "gateway/connection/handshake.h"
#include "gateway/connection/handshake_memory.h"
#include "gateway/connection/lingering_close.h"
#include "iouring/idle_worker.h"
#include "ktls/handshake/session_store.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {
namespace {

using ktls::HandshakeResult;
using Clock = std::chrono::steady_clock;
using Opened = std::expected<OpenedTls, OpeningFailure>;

// What it holds beside OpenSSL's part: its frames and socket.
constexpr std::size_t kFixedHandshakeMemory = 2560;

// One handshake with a backend. Lives in the frame of shake_hands().
struct BackendHandshake final : TlsOpening, HandshakeMemory::Holder {
  BackendHandshake(BackendCaller& its_caller, iouring::Socket& socket, OpeningWait& its_wait)
      : TlsOpening(socket, its_caller.shard().pools.small),
        caller(its_caller),
        opening_wait(its_wait) {
    join(shard().handshake_memory, caller.network(), shard().ring.now());
  }

  [[nodiscard]] ShardState& shard() const { return caller.shard(); }

  // The client's handshake had its slot before those that wait for one.
  void work() override {
    slot = shard().handshake_slots.enter_now();
    set_working();
    opening_wait.for_us = true;
  }
  // May be shed from now on.
  void wait() override {
    if (opening_wait.for_us) opening_wait = {.for_us = false, .since = shard().ring.now()};
    if (caller.ended()) return;  // a slot is held until OpenSSL's part is freed
    slot = {};
    set_waiting(kFixedHandshakeMemory + (tls() ? tls()->memory() : 0), shard().ring.now());
  }

  BackendCaller& caller;
  OpeningWait& opening_wait;
  FairSlots::Slot slot;
  const Clock::time_point began = Clock::now();

 private:
  iouring::IdleWorker& worker() override { return worker_for_step(shard()); }
  // Clients that are here come before one that may come.
  iouring::Rank rank() const override {
    return caller.has_client() ? iouring::Rank::kStarted : iouring::Rank::kNew;
  }
  void on_shed() noexcept override {
    slot = shard().handshake_slots.enter_now();
    caller.shed();
  }
};

// Where a session with this server may be used again. Addresses of one name are not one server.
ktls::Sha256 session_scope(const BackendTerms& terms, const ExpectedBackend& expected,
                           const Endpoint& endpoint, std::span<const std::string_view> alpn) {
  const std::string place = endpoint.target + ' ' + endpoint.address.to_string();
  const ktls::SessionScope scope{.endpoint = place,
                                 .server_name = expected.server_name(),
                                 .verify = expected.digest(),
                                 .trust = terms.context->credentials().trust_digest(),
                                 .certificate = terms.context->presented(),
                                 .alpn = alpn,
                                 .min_version = terms.route->backend_tls->min_version};
  return scope.digest();
}

// The client was told a protocol before there was a backend: no other will do. One that was not
// offered has failed the handshake already.
std::expected<void, OpeningFailure> must_speak(const ktls::Outcome& outcome,
                                               const std::string& forwarded) {
  if (outcome.alpn == forwarded) return {};
  return opening_fails({.result = HandshakeResult::kNoApplicationProtocol,
                        .detail = "chose no ALPN protocol, not " + forwarded});
}

// Both enumerations have these in the same order.
metrics::BackendTlsResult label_of(const ktls::HandshakeFailure& failure) {
  const auto place = static_cast<std::size_t>(refusal_of_backend(failure.result)) -
                     static_cast<std::size_t>(HandshakeResult::kBackendTlsFailed);
  return metrics::BackendTlsResult{static_cast<std::size_t>(metrics::BackendTlsResult::kFailed) +
                                   place};
}
static_assert(
    std::ranges::equal(std::span(metrics::kBackendTlsWords).subspan(1),
                       std::span(ktls::kHandshakeResultWords)
                           .subspan(static_cast<std::size_t>(HandshakeResult::kBackendTlsFailed),
                                    metrics::kBackendTlsWords.size() - 1)));

void count(const BackendHandshake& handshake, const std::expected<void, OpeningFailure>& ended) {
  metrics::RouteCells& cells = handshake.caller.route_cells();
  const auto took = Clock::now() - handshake.began;
  if (ended) {
    cells.backend_tls(metrics::BackendTlsResult::kSuccess, handshake.tls()->outcome().resumed,
                      took);
  } else if (ended.error().tls) {
    cells.backend_tls(label_of(*ended.error().tls), false, took);
  }
}

}  // namespace

std::optional<BackendTerms> backend_terms(const LiveConnection& connection) {
  const ShardState& shard = connection.shard();
  const Policy::Pointer& policy = shard.snapshot->policy;
  const Route* const route = policy->find(connection.route().name);
  if (route == nullptr) {
    if (connection.route().backend_tls) return std::nullopt;
    return BackendTerms{.route = connection.grant().route, .context = nullptr};
  }
  BackendTerms terms{.route = std::shared_ptr<const Route>(policy, route), .context = nullptr};
  if (route->backend_tls)
    terms.context =
        shard.backend_tls->at(static_cast<std::size_t>(route - policy->routes().data()));
  return terms;
}

[[gnu::noinline]] iouring::Task<Opened> shake_hands(BackendCaller& caller,
                                                    const BackendTerms& terms,
                                                    iouring::Socket& backend,
                                                    const Endpoint& endpoint, OpeningWait& wait) {
  const BackendTls& rule = *terms.route->backend_tls;
  const auto expected = ExpectedBackend::of(rule, *endpoint.labels, endpoint.target);
  if (!expected)
    co_return opening_fails(
        {.result = HandshakeResult::kNotAuthorized, .detail = expected.error()});
  const std::string forwarded(rule.forward_alpn ? caller.alpn() : std::string_view());
  std::vector<std::string_view> alpn(rule.alpn.begin(), rule.alpn.end());
  if (!forwarded.empty()) alpn.assign(1, forwarded);
  BackendSessions& sessions = caller.shard().backend_sessions;
  const ktls::Sha256 scope = session_scope(terms, *expected, endpoint, alpn);
  ktls::ClientTerms offer{
      .server_name = expected->server_name(),
      .alpn = alpn,
      .min_version = rule.min_version,
      .refuse = [&](const ktls::PeerTrust& server) { return expected->refuse(server.identity); },
      .session = sessions.take(scope, terms.context->now())};

  BackendHandshake handshake(caller, backend, wait);
  std::unique_ptr<ktls::TicketSink> tickets;
  auto ended = co_await handshake.run(terms.context, offer, rule.starttls_postgresql);
  if (ended) {
    handshake.tls()->intern_trust();
    if (!forwarded.empty()) ended = must_speak(handshake.tls()->outcome(), forwarded);
  }
  if (ended) {
    tickets = sessions.collect(*handshake.tls(), scope, std::move(offer.session));
    ended = co_await handshake.send_last_flight(tickets == nullptr);
  }
  count(handshake, ended);
  if (ended)
    co_return OpenedTls{.handshake = std::move(handshake.tls()), .tickets = std::move(tickets)};
  if (handshake.tls()) {
    handshake.work();  // cannot be shed meanwhile
    co_await within_lingering_time(caller.shard(), handshake.free_openssl());
  }
  co_return std::unexpected(std::move(ended.error()));
}

CloseReason reason_of_backend(const ktls::HandshakeFailure& failure) {
  return refusal_of_backend(failure.result);
}

}  // namespace sallyport::gateway
