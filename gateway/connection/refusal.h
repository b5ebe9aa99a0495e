// Refusals: the reason of one, and the alert by which the client learns of it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/connection/close_reason.h"
#include "iouring/task.h"
#include "ktls/handshake/client_hello.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

struct Client;

/// The reason is always set; detail and certificate where there are any.
struct Refusal {
  CloseReason reason = CloseReason::kUnknownFailure;
  ktls::HandshakeFailure failure{};  ///< detail, the certificate that was refused, its judgement
  /// As in ConnectionFacts. refuse() adds it while the handshake is there.
  std::vector<std::string> alpn_offered{};
};

/// The result of a phase: null if the next phase begins, else why the connection ends here. A
/// pointer, since an idle connection keeps room for it.
using RefusalPtr = std::unique_ptr<Refusal>;

[[nodiscard]] inline RefusalPtr refusal(CloseReason reason, std::string detail = {}) {
  auto made = std::make_unique<Refusal>();
  made->reason = reason;
  made->failure.detail = std::move(detail);
  return made;
}

/// The protocols that a client offered, as a refusal names them: the first
/// PresentedCertificate::kMaxNames, each cut.
[[nodiscard]] std::vector<std::string> alpn_offered(const ktls::ClientHello& hello);

/// Ends the connection with `why`, or with the reason that LiveConnection::end() was called with,
/// and tells the client in the way that fits the phase (docs/operate.md):
///
///   before any answer     a plaintext alert for `shed`; a reset for `proxy_header_invalid`; else
///   FIN at the ClientHello    the alert of the route's refusal in the handshake      nothing more:
///   its alert has been sent after authentication  an alert under the application keys;
///   close_notify for `drain`
///
/// The close lingers, so that the alert arrives. Bounded, even where the connection was cancelled.
/// Nothing is sent to a client that is gone.
[[nodiscard]] iouring::Task<void> refuse(Client& client, RefusalPtr why);

}  // namespace sallyport::gateway
