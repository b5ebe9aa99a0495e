#include "ktls/handshake/client_session.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <utility>

#include "ktls/handshake/ticket_taker.h"

namespace sallyport::ktls {
namespace {

using std::chrono::seconds;

constexpr seconds kMostLifetime = std::chrono::days(7);  // RFC 8446 4.6.1
// In TLS 1.2, of a session that the server says nothing about: an identifier in its cache, or a
// ticket of lifetime 0 (RFC 5077 3.3).
constexpr seconds kUnstatedLifetime = std::chrono::hours(1);

// In TLS 1.3 a lifetime of 0 says that the ticket is not to be used.
seconds stated_lifetime(const SSL_SESSION* session, RecordVersion version) {
  const unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(session);
  if (hint == 0) return version == RecordVersion::kTls12 ? kUnstatedLifetime : seconds(0);
  return seconds(std::min<unsigned long>(hint, kMostLifetime.count()));
}

bool ticket_is_too_large(const SSL_SESSION* session) {
  const unsigned char* ticket = nullptr;
  std::size_t size = 0;
  SSL_SESSION_get0_ticket(session, &ticket, &size);
  return size > TicketTaker::kMaxTicket;
}

}  // namespace

std::optional<ClientSession> latest_session(SSL* ssl, std::shared_ptr<const PeerTrust> trust,
                                            std::chrono::sys_seconds authenticated_at,
                                            std::chrono::sys_seconds now) {
  // As after an orderly end: OpenSSL makes the session of a torn connection unusable.
  SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_SENT_SHUTDOWN);
  SslSessionPtr session(SSL_get1_session(ssl));
  if (!session || SSL_SESSION_is_resumable(session.get()) != 1) return std::nullopt;
  if (ticket_is_too_large(session.get())) return std::nullopt;
  const auto version =
      SSL_version(ssl) == TLS1_2_VERSION ? RecordVersion::kTls12 : RecordVersion::kTls13;
  const auto expires_at = std::min({now + stated_lifetime(session.get(), version),
                                    authenticated_at + kMostLifetime, trust->not_after});
  if (expires_at <= now) return std::nullopt;
  return ClientSession{.session = std::move(session),
                       .trust = std::move(trust),
                       .authenticated_at = authenticated_at,
                       .expires_at = expires_at,
                       .version = version};
}

}  // namespace sallyport::ktls
