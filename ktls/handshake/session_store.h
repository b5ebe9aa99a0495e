#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>

#include "ktls/handshake/client_session.h"
#include "ktls/keys/suite.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// Where a session may be used again: nowhere but on a connection for which all of this is the
/// same. Refers to what its maker holds.
struct SessionScope {
  std::string_view endpoint = {};               ///< the place that is connected to
  std::string_view server_name = {};            ///< ClientTerms has it
  Sha256 verify = {};                           ///< over all that decides which server is wanted
  Sha256 trust = {};                            ///< Credentials::trust_digest()
  Sha256 certificate = {};                      ///< over what we may present; zeros: nothing
  std::span<const std::string_view> alpn = {};  ///< ClientTerms has them, too
  RecordVersion min_version = RecordVersion::kTls13;

  /// SHA-256 over all of it, unambiguously. Throws std::bad_alloc; texts of more than 65,535 bytes
  /// abort.
  [[nodiscard]] Sha256 digest() const;
};

/// The sessions of one shard with servers, by SessionScope::digest(). Bounded: of each scope it has
/// the newest, of all those that were made, or in TLS 1.2 used, last. Of the shard's thread.
class SessionStore {
 public:
  /// Sessions: each is of some KiB, and those that go back to one full handshake share the server's
  /// certificates.
  static constexpr std::size_t kCapacity = 1024;
  /// Of a scope: so many connections that begin at once are resumed. A server gives one session for
  /// each that is used, so with fewer than there are connections under way many come in vain.
  static constexpr std::size_t kMaxOfScope = 64;

  explicit SessionStore(std::size_t capacity = kCapacity) : capacity_(capacity) {}

  void remember(const Sha256& scope, ClientSession session);

  /// The newest session of `scope`; null if there is none that has not expired at `now`. One of TLS
  /// 1.3 leaves the store: its ticket is used once (RFC 8446 C.4). Of one of TLS 1.2 this is a
  /// copy, since OpenSSL changes those in use.
  [[nodiscard]] std::shared_ptr<const ClientSession> take(const Sha256& scope,
                                                          std::chrono::sys_seconds now);

 private:
  struct Kept {
    Sha256 scope;
    ClientSession session;
  };
  using Place = std::list<Kept>::iterator;

  void drop(Place place);

  std::size_t capacity_;
  std::list<Kept> sessions_;  ///< the next to go last
  /// Each has one at least, the newest last.
  std::unordered_map<Sha256, std::list<Place>, Sha256Hash> by_scope_;
};

}  // namespace sallyport::ktls
