#include "ktls/handshake/session_store.h"

#include <openssl/ssl.h>

#include <iterator>
#include <list>
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
  // The newer session has all that the server's last one had, in TLS 1.2 for any number of uses.
  const std::size_t most = session.version == RecordVersion::kTls12 ? 1 : kMaxOfScope;
  if (capacity_ == 0) return;
  for (auto own = by_scope_.find(scope); own != by_scope_.end() && own->second.size() >= most;
       own = by_scope_.find(scope))
    drop(own->second.front());
  if (sessions_.size() == capacity_) drop(std::prev(sessions_.end()));

  std::list<Kept> made;
  made.push_back({.scope = scope, .session = std::move(session)});
  std::list<Place> place{made.begin()};
  std::list<Place>& own = by_scope_[scope];  // nothing throws behind this
  own.splice(own.end(), place);
  sessions_.splice(sessions_.begin(), made);
}

void SessionStore::drop(Place place) {
  const auto own = by_scope_.find(place->scope);
  std::erase(own->second, place);
  if (own->second.empty()) by_scope_.erase(own);
  sessions_.erase(place);
}

std::shared_ptr<const ClientSession> SessionStore::take(const Sha256& scope,
                                                        std::chrono::sys_seconds now) {
  auto own = by_scope_.find(scope);
  while (own != by_scope_.end() && own->second.back()->session.expires_at <= now) {
    drop(own->second.back());
    own = by_scope_.find(scope);
  }
  if (own == by_scope_.end()) return nullptr;
  const Place newest = own->second.back();
  if (newest->session.version == RecordVersion::kTls12) {
    SslSessionPtr copy(SSL_SESSION_dup(newest->session.session.get()));
    if (!copy) throw std::bad_alloc();
    sessions_.splice(sessions_.begin(), sessions_, newest);
    return std::make_shared<const ClientSession>(
        ClientSession{.session = std::move(copy),
                      .trust = newest->session.trust,
                      .authenticated_at = newest->session.authenticated_at,
                      .expires_at = newest->session.expires_at,
                      .version = newest->session.version});
  }
  auto taken = std::make_shared<const ClientSession>(std::move(newest->session));
  drop(newest);
  return taken;
}

}  // namespace sallyport::ktls
