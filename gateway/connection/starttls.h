// From a PostgreSQL client's first byte to where its TLS begins: the phase starttls.
#pragma once

#include <expected>

#include "gateway/connection/refusal.h"
#include "gateway/policy/route.h"
#include "iouring/task.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

struct Handshake;

/// Answers SSLRequest, and a GSSENCRequest before it, with no: nothing else is answered in
/// plaintext, and no backend hears of it. TLS without a request is left for the phase hello, in
/// Handshake::unread. Within the handshake timeout. Refusals: kUnexpectedMessage, and those of
/// silence and of a client that leaves.
[[nodiscard]] iouring::Task<RefusalPtr> answer_starttls(Client& client);

/// After its ClientHello: PostgreSQL is what `postgresql` in ALPN stands for, whatever the route
/// has to say of ALPN. Who offers other protocols only is refused, and so is who has not asked for
/// TLS and offers none, as PostgreSQL does it: no client of another protocol comes to a database by
/// mistake, or by somebody's doing. The error: kNoApplicationProtocol.
[[nodiscard]] std::expected<Choice, ktls::HandshakeResult> confirm_postgresql(
    const Handshake& handshake, Choice choice);

}  // namespace sallyport::gateway
