#include "gateway/connection/backend_handshake.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backends/expected_backend.h"
#include "gateway/connection/fair_slots.h"
#include "gateway/connection/handshake.h"
#include "gateway/connection/handshake_memory.h"
#include "gateway/connection/lingering_close.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {
namespace {

using ktls::HandshakeResult;
using ClientStep = ktls::ClientHandshake::Step;
using Clock = std::chrono::steady_clock;
using Opened = std::expected<std::unique_ptr<ktls::ClientHandshake>, OpeningFailure>;

// What it holds beside OpenSSL's part: its frames and socket.
constexpr std::size_t kFixedHandshakeMemory = 2560;

// One handshake with a backend. Lives in the frame of shake_hands().
struct BackendHandshake final : HandshakeMemory::Holder {
  BackendHandshake(BackendCaller& its_caller, iouring::Socket& its_socket, OpeningWait& its_wait)
      : caller(its_caller), socket(its_socket), opening_wait(its_wait) {
    join(shard().handshake_memory, caller.network(), shard().ring.now());
  }

  [[nodiscard]] ShardState& shard() const { return caller.shard(); }

  // There is work from now on. The client's handshake had its slot before those that wait for one.
  void work() {
    slot = shard().handshake_slots.enter_now();
    set_working();
    opening_wait.for_us = true;
  }
  // It waits for the backend from now on; may be shed.
  void wait() {
    if (opening_wait.for_us) opening_wait = {.for_us = false, .since = shard().ring.now()};
    if (caller.ended()) return;  // a slot is held until OpenSSL's part is freed
    slot = {};
    set_waiting(kFixedHandshakeMemory + (tls ? tls->memory() : 0), shard().ring.now());
  }

  BackendCaller& caller;
  iouring::Socket& socket;
  OpeningWait& opening_wait;
  FairSlots::Slot slot;
  std::unique_ptr<ktls::ClientHandshake> tls;  // once it has begun
  const Clock::time_point began = Clock::now();

 private:
  void on_shed() noexcept override {
    slot = shard().handshake_slots.enter_now();
    caller.shed();
  }
};

std::unexpected<OpeningFailure> fails(ktls::HandshakeFailure failure) {
  return std::unexpected(
      OpeningFailure{.tls = std::make_unique<const ktls::HandshakeFailure>(std::move(failure))});
}

// Of an errno of a socket that was connected; 0: the backend ended its side.
std::unexpected<OpeningFailure> gone(int error) {
  if (error == ECANCELED) return std::unexpected(OpeningFailure{.sys_errno = ECANCELED});
  std::string detail = "ended the TLS handshake";
  if (error != kEndOfFile) detail += std::string(" (") + iouring::errno_name(error) + ")";
  return fails({.result = HandshakeResult::kPeerConnectionClosed, .detail = std::move(detail)});
}

// Nothing may be there before our ClientHello. What is, is of somebody who does not speak TLS, or
// was put in by somebody on the way.
std::expected<void, OpeningFailure> must_be_silent(const iouring::Socket& backend) {
  std::byte first{};
  const ssize_t there = ::recv(backend.descriptor(), &first, sizeof first, MSG_PEEK | MSG_DONTWAIT);
  const int error = there < 0 ? errno : 0;
  if (error == EAGAIN) return {};
  if (there <= 0) return gone(error);
  return fails({.result = HandshakeResult::kUnexpectedMessage,
                .detail = "spoke before the TLS handshake began"});
}

iouring::Task<iouring::Result<>> send(iouring::Socket& backend, std::span<const std::byte> output) {
  if (output.empty()) co_return iouring::Result<>{};
  iouring::Result<> sent = co_await backend.send_all(output);
  co_return sent;
}

iouring::Task<iouring::Result<>> receive_more(BackendHandshake& handshake) {
  do {
    handshake.wait();
    iouring::Result<iouring::Lease> received =
        co_await handshake.socket.recv(handshake.shard().pools.small);
    if (!received) co_return iouring::failure(received.error().value);
    if (received->bytes().empty()) co_return iouring::failure(kEndOfFile);
    handshake.tls->feed(received->bytes());
  } while (!handshake.tls->can_advance());
  co_return iouring::Result<>{};
}

iouring::Task<std::expected<void, OpeningFailure>> run(BackendHandshake& handshake,
                                                       const BackendTerms& terms,
                                                       const ktls::ClientTerms& offer) {
  std::unique_ptr<ktls::ClientHandshake>& tls = handshake.tls;
  while (true) {
    ClientStep step = ClientStep::kWantRead;
    std::vector<std::byte> last_flight;
    const bool first = !tls;
    handshake.work();
    iouring::Result<> ran =
        co_await worker_for_step(handshake.shard()).run(iouring::Rank::kStarted, [&] {
          if (!tls) tls = std::make_unique<ktls::ClientHandshake>(terms.context, offer);
          step = tls->advance();
          if (step == ClientStep::kDone) last_flight = tls->take_output();
        });
    if (!ran) co_return gone(ran.error().value);
    if (first) {
      auto silent = must_be_silent(handshake.socket);
      if (!silent) co_return silent;
    }
    handshake.wait();
    iouring::Result<> sent =
        co_await send(handshake.socket, step == ClientStep::kDone ? last_flight : tls->output());
    if (step == ClientStep::kFailed) co_return fails(tls->failure());
    if (!sent) co_return gone(sent.error().value);
    if (step == ClientStep::kDone) co_return std::expected<void, OpeningFailure>();
    tls->output_sent();
    iouring::Result<> received = co_await receive_more(handshake);
    if (!received) co_return gone(received.error().value);
  }
}

// The client was told a protocol before there was a backend: no other will do.
std::expected<void, OpeningFailure> must_speak(const ktls::Outcome& outcome,
                                               std::string_view forwarded) {
  if (forwarded.empty() || outcome.alpn == forwarded) return {};
  return fails(
      {.result = HandshakeResult::kNoApplicationProtocol,
       .detail = outcome.alpn.empty()
                     ? "chose no ALPN protocol, not " + std::string(forwarded)
                     : "chose ALPN protocol " + outcome.alpn + ", not " + std::string(forwarded)});
}

// Of a handshake that has not ended: 50 to 65 KiB, and OpenSSL's locks.
iouring::Task<void> free_openssl(BackendHandshake& handshake) {
  iouring::Result<> ran =
      co_await worker_for_step(handshake.shard()).run(iouring::Rank::kStarted, [&] {
        handshake.tls.reset();
      });
  if (!ran) handshake.tls.reset();
}

// The refusals for a backend's certificate, and the one for everything else.
HandshakeResult sort(HandshakeResult of_handshake) {
  switch (of_handshake) {
    case HandshakeResult::kCertificateExpired:
      return HandshakeResult::kBackendExpired;
    case HandshakeResult::kCertificateRevoked:
      return HandshakeResult::kBackendRevoked;
    case HandshakeResult::kCertificateAuthorityInvalid:
    case HandshakeResult::kCertificateNotYetValid:
    case HandshakeResult::kCertificateMalformed:
    case HandshakeResult::kCertificatePurposeInvalid:
    case HandshakeResult::kCertificateVerificationFailed:
    case HandshakeResult::kCrlUnavailable:
    case HandshakeResult::kCrlExpired:
      return HandshakeResult::kBackendUntrusted;
    case HandshakeResult::kNotAuthorized:
      return HandshakeResult::kBackendNotVerified;
    default:
      return HandshakeResult::kBackendTlsFailed;
  }
}

// Both enumerations have these in the same order.
metrics::BackendTlsResult label_of(const ktls::HandshakeFailure& failure) {
  const auto place = static_cast<std::size_t>(sort(failure.result)) -
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
    cells.backend_tls(metrics::BackendTlsResult::kSuccess, handshake.tls->outcome().resumed, took);
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
    co_return fails({.result = HandshakeResult::kNotAuthorized, .detail = expected.error()});
  const std::string forwarded(rule.forward_alpn ? caller.alpn() : std::string_view());
  std::vector<std::string_view> alpn(rule.alpn.begin(), rule.alpn.end());
  if (!forwarded.empty()) alpn.assign(1, forwarded);
  const ktls::ClientTerms offer{
      .server_name = expected->server_name(),
      .alpn = alpn,
      .min_version = rule.min_version,
      .refuse = [&](const ktls::PeerTrust& server) { return expected->refuse(server.identity); }};

  BackendHandshake handshake(caller, backend, wait);
  auto ended = co_await run(handshake, terms, offer);
  if (ended) {
    handshake.tls->intern_trust();
    ended = must_speak(handshake.tls->outcome(), forwarded);
  }
  count(handshake, ended);
  if (ended) co_return std::move(handshake.tls);
  if (handshake.tls) {
    handshake.work();  // cannot be shed meanwhile
    co_await within_lingering_time(caller.shard(), free_openssl(handshake));
  }
  co_return std::unexpected(std::move(ended.error()));
}

CloseReason reason_of_backend(const ktls::HandshakeFailure& failure) {
  return sort(failure.result);
}

}  // namespace sallyport::gateway
