// Checks of endpoints whose route has `backend-tls`: over TLS that is verified as its traffic's is.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "gateway/backends/endpoints.h"
#include "gateway/backends/tls_opening.h"
#include "gateway/policy/endpoint_rules.h"
#include "gateway/policy/policy.h"
#include "iouring/idle_worker.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake/client_context.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// What the checks of one thread use for TLS. All outlives them.
struct CheckTlsTools {
  iouring::IdleWorker& idle_worker;
  ktls::RecordPools& pools;
};

/// By what the endpoints of one route are verified.
struct CheckTls {
  std::shared_ptr<ktls::ClientContext> context;
  std::shared_ptr<const Route> route;  ///< has `backend-tls`
};

/// A full handshake on a socket that was just connected: with the certificate, trust and identity
/// of the route's traffic. A check by HTTP offers "http/1.1" where the route offers any protocol,
/// the others offer what it does. What is given by reference outlives the task.
iouring::Task<std::expected<std::unique_ptr<ktls::RecordLayer>, OpeningFailure>> verified_records(
    const CheckTlsTools& tools, const CheckTls& tls, const HealthCheck& rule,
    const Endpoint& endpoint, iouring::Socket socket);

/// Ends a connection on which there is nothing to ask. In TLS 1.3 a server refuses our certificate
/// behind the handshake: a text says so, where its alert comes before anything else and within half
/// a second.
iouring::Task<std::optional<std::string>> refused_behind_handshake(iouring::Ring& ring,
                                                                   ktls::RecordLayer& records);

/// For the log: "bad_record_mac", "alert 42", "ECONNRESET".
[[nodiscard]] std::string text_of(const ktls::RecordError& error);

}  // namespace sallyport::gateway
