// --explain: what a handshake would say of a client, without a connection.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gateway/connection/snapshot.h"
#include "gateway/run/options.h"
#include "ktls/handshake/server_context.h"
#include "ktls/records/record.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/judgement.h"
#include "ktls/trust/presented_certificate.h"

namespace sallyport::gateway {

struct Explanation {
  ktls::HandshakeResult result = ktls::HandshakeResult::kSuccess;
  std::optional<ktls::AlertDescription> alert;  ///< that the client gets; none: it is let in
  ktls::JudgementSteps steps;                   ///< up to the one that refuses it
  std::string detail;                           ///< of a refusal, as in its log line
  std::string route;                            ///< empty: none was found
  /// Null: the certificates were not looked at, or cannot be decoded.
  std::shared_ptr<const ktls::PresentedCertificate> presented;
};

/// Judges a client with these certificates (DER, its own first) by the steps of a handshake under
/// `snapshot`, whose endpoints may be null. That it has the key, and that a backend is there, is
/// taken for granted. The error is of OpenSSL, for the credentials.
[[nodiscard]] std::expected<Explanation, std::string> explain_client(
    const Snapshot& snapshot, const Options::Client& client,
    std::span<const std::vector<std::byte>> certificates,
    ktls::WallClock clock = ktls::wall_clock_now);

/// --explain: reads what it needs of the configuration, and no private key or ticket secret; prints
/// the steps and the verdict. Returns the exit code.
[[nodiscard]] int explain(const Options& options);

}  // namespace sallyport::gateway
