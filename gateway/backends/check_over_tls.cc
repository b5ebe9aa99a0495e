#include "gateway/backends/check_over_tls.h"

#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backends/expected_backend.h"
#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "iouring/result.h"
#include "ktls/records/userspace_records.h"

namespace sallyport::gateway {
namespace {

using Records = std::expected<std::unique_ptr<ktls::RecordLayer>, OpeningFailure>;

constexpr std::string_view kHttp = "http/1.1";
// For an alert that comes a round trip behind our last flight.
constexpr std::chrono::milliseconds kForAnAlert{500};

class CheckHandshake final : public TlsOpening {
 public:
  CheckHandshake(iouring::Socket& socket, const CheckTlsTools& tools)
      : TlsOpening(socket, tools.pools.small), idle_worker_(tools.idle_worker) {}

 private:
  iouring::IdleWorker& worker() override { return idle_worker_; }

  iouring::IdleWorker& idle_worker_;
};

std::vector<std::string_view> offer_of(const HealthCheck& rule, const Route& route) {
  const BackendTls& tls = *route.backend_tls;
  const std::vector<std::string>& offered = tls.forward_alpn ? route.alpn : tls.alpn;
  if (!offered.empty() && rule.type == HealthCheck::Type::kHttp) return {kHttp};
  return {offered.begin(), offered.end()};
}

// Of the connection at `records`, which the server may end before or after it has seen our end.
iouring::Task<ktls::Received> end(ktls::RecordLayer& records) {
  [[maybe_unused]] const ktls::RecordLayer::SendResult closed = co_await records.send_close();
  ktls::Received received = co_await records.receive();
  co_return received;
}

}  // namespace

iouring::Task<Records> verified_records(const CheckTlsTools& tools, const CheckTls& tls,
                                        const HealthCheck& rule, const Endpoint& endpoint,
                                        iouring::Socket socket) {
  const BackendTls& wanted = *tls.route->backend_tls;
  const auto expected = ExpectedBackend::of(wanted, *endpoint.labels, endpoint.target);
  if (!expected)
    co_return opening_fails(
        {.result = ktls::HandshakeResult::kNotAuthorized, .detail = expected.error()});
  const std::vector<std::string_view> alpn = offer_of(rule, *tls.route);
  const ktls::ClientTerms offer{
      .server_name = expected->server_name(),
      .alpn = alpn,
      .min_version = wanted.min_version,
      .refuse = [&](const ktls::PeerTrust& server) { return expected->refuse(server.identity); }};

  CheckHandshake handshake(socket, tools);
  auto ended = co_await handshake.run(tls.context, offer, wanted.starttls_postgresql);
  if (ended) ended = co_await handshake.send_last_flight(true);
  if (!ended) {
    co_await handshake.free_openssl();
    co_return std::unexpected(std::move(ended.error()));
  }
  const ktls::Outcome outcome = handshake.tls()->finish();
  co_return ktls::userspace_records(std::move(socket), outcome.state, tools.pools, outcome.leftover,
                                    ktls::Role::kClient);
}

iouring::Task<std::optional<std::string>> refused_behind_handshake(iouring::Ring& ring,
                                                                   ktls::RecordLayer& records) {
  iouring::CancelScope scope(co_await iouring::current_scope());
  iouring::Deadline deadline(ring, scope);
  deadline.arm(kForAnAlert);
  const ktls::Received received = co_await iouring::in_scope(scope, end(records));
  const bool alert = received.kind == ktls::Received::Kind::kFailed &&
                     received.error.failure == ktls::RecordFailure::kAlertReceived;
  if (!alert) co_return std::nullopt;
  co_return text_of(received.error);
}

std::string text_of(const ktls::RecordError& error) {
  if (error.failure == ktls::RecordFailure::kAlertReceived)
    return "alert " + std::to_string(static_cast<unsigned>(error.alert));
  if (error.sys_errno != 0) return iouring::errno_name(error.sys_errno);
  return std::string(to_string(error.failure));
}

}  // namespace sallyport::gateway
