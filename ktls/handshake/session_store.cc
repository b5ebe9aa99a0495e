#include "ktls/handshake/session_store.h"

#include <openssl/ssl.h>

#include <new>
#include <utility>

#include "ktls/base/wire.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {

Sha256 SessionScope::digest() const {
  WireWriter out;
  out.text(endpoint);
  out.text(server_name);
  for (const Sha256* const each : {&verify, &trust, &certificate})
    out.raw(std::as_bytes(std::span(*each)));
  out.u16(alpn.size());
  for (const std::string_view protocol : alpn) out.text(protocol);
  out.u8(static_cast<std::uint8_t>(min_version));
  return sha256(out.bytes());
}

void SessionStore::remember(const Sha256& scope, ClientSession session) {
  std::deque<ClientSession>* sessions = scopes_.find(scope);
  if (sessions == nullptr) {
    scopes_.remember(scope, {});
    sessions = scopes_.find(scope);
    if (sessions == nullptr) return;  // a store without capacity
  }
  // The newer session has all that the server's last one had, in TLS 1.2 for any number of uses.
  const std::size_t most = session.version == RecordVersion::kTls12 ? 1 : kMaxOfScope;
  sessions->push_back(std::move(session));
  while (sessions->size() > most) sessions->pop_front();
}

std::shared_ptr<const ClientSession> SessionStore::take(const Sha256& scope,
                                                        std::chrono::sys_seconds now) {
  std::deque<ClientSession>* const sessions = scopes_.find(scope);
  if (sessions == nullptr) return nullptr;
  std::erase_if(*sessions, [now](const ClientSession& each) { return each.expires_at <= now; });
  if (sessions->empty()) return nullptr;
  ClientSession& newest = sessions->back();
  if (newest.version == RecordVersion::kTls12) {
    SslSessionPtr copy(SSL_SESSION_dup(newest.session.get()));
    if (!copy) throw std::bad_alloc();
    return std::make_shared<const ClientSession>(
        ClientSession{.session = std::move(copy),
                      .trust = newest.trust,
                      .authenticated_at = newest.authenticated_at,
                      .expires_at = newest.expires_at,
                      .version = newest.version});
  }
  auto taken = std::make_shared<const ClientSession>(std::move(newest));
  sessions->pop_back();
  return taken;
}

}  // namespace sallyport::ktls
