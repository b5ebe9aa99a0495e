// Session tickets of ServerHandshake: their content, how they are issued, and which are accepted.
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>

#include "ktls/base/wire.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/handshake/session_ticket.h"
#include "ktls/records/record.h"
#include "ktls/records/record_protection.h"

namespace sallyport::ktls {
namespace {

// The largest content, since clients have to store tickets. An identity of thousands of names gets
// none.
constexpr std::size_t kMaxTicketContent = 4096;
// How far the clocks of gateways that share ticket secrets may differ.
constexpr std::chrono::seconds kClockSkew{60};

/// OpenSSL's serialised form of a session, cleansed when it dies: it holds the PSK. Empty if memory
/// is short.
class SerialisedSession {
 public:
  explicit SerialisedSession(const SSL_SESSION* session)
      : size_(std::max(0, i2d_SSL_SESSION(session, &der_))) {}
  ~SerialisedSession() { OPENSSL_clear_free(der_, static_cast<std::size_t>(size_)); }
  SerialisedSession(const SerialisedSession&) = delete;
  SerialisedSession& operator=(const SerialisedSession&) = delete;

  std::span<const unsigned char> bytes() const noexcept {
    return {der_, static_cast<std::size_t>(size_)};
  }

 private:
  unsigned char* der_ = nullptr;
  int size_;
};

}  // namespace

std::optional<TicketContent> ServerHandshake::ticket_content(SSL_SESSION* session) {
  void* data = nullptr;
  std::size_t size = 0;
  if (session == nullptr || SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1)
    return std::nullopt;
  return TicketContent::parse({static_cast<const std::byte*>(data), size});
}

// The lifetime of a ticket that is issued now; nothing if it would be none.
std::optional<std::chrono::seconds> ServerHandshake::ticket_lifetime() const {
  const auto now = context_->now();
  const auto by_age =
      outcome_.authenticated_at + context_->credentials().settings().ticket_max_age - now;
  const auto by_certificate = outcome_.trust->not_after - now;
  const std::chrono::seconds left = std::min(by_age, by_certificate);
  if (left < std::chrono::seconds(1)) return std::nullopt;
  return std::min<std::chrono::seconds>(left, std::chrono::days(7));  // RFC 8446 4.6.1
}

void ServerHandshake::issue_tickets() {
  if (!complete_) std::abort();
  if (outcome_.state.version != RecordVersion::kTls13 || wants_certificate_) return;
  const auto lifetime = ticket_lifetime();
  if (context_->ticket_keys_.empty() || !lifetime) return;
  ticket_content_ = TicketContent{*outcome_.trust, outcome_.authenticated_at}.serialise();
  if (ticket_content_.size() > kMaxTicketContent) return;

  // Only memory or random numbers can be short here: a connection does without tickets.
  if (!send_tickets(*lifetime)) (void)OpensslError::drain();
  ticket_content_ = {};
  ticket_psks_.clear();
}

bool ServerHandshake::send_tickets(std::chrono::seconds lifetime) {
  const CipherSuite suite = outcome_.state.suite;
  CipherContexts contexts(1);
  DirectionState& server = engine_.secrets().server;
  server.keep_key(suite);
  DirectionState tx = server;
  tx.rec_seq = engine_.next_tx_record(RecordVersion::kTls13);
  const std::uint16_t max_fragment = outcome_.state.max_fragment;
  RecordSealer sealer(contexts, suite, tx, RecordVersion::kTls13, max_fragment);
  for (const TicketPsk& each : ticket_psks_) {
    if (each.nonce.empty()) return false;
    const SslSessionPtr bare = bare_session(each.psk.bytes(), lifetime);
    if (!bare) return false;
    const SerialisedSession session(bare.get());
    if (session.bytes().empty()) return false;
    const auto ticket =
        seal_session(context_->ticket_keys_.front(), std::as_bytes(session.bytes()));
    if (!ticket) return false;
    const auto message = new_session_ticket(lifetime, each.age_add, each.nonce, *ticket);

    const iovec span{const_cast<std::byte*>(message.data()), message.size()};
    PlaintextCursor content{std::span(&span, 1)};
    std::vector<std::byte> records(sealed_size(message.size(), kRecordOverhead, max_fragment));
    const std::uint64_t before = sealer.next_record();
    const auto sealed = sealer.seal(ContentType::kHandshake, content, records);
    if (!sealed) return false;
    if (!engine_.append_output(std::span(records).first(*sealed), sealer.next_record() - before))
      return false;
  }
  return true;
}

// A session with only what resumption needs. The client's certificate would triple the ticket and
// cost a decoding at each resumption; instead the ticket has the PeerTrust, which is judged again.
SslSessionPtr ServerHandshake::bare_session(std::span<const std::byte> psk,
                                            std::chrono::seconds lifetime) const {
  const SSL_SESSION* session = SSL_get_session(ssl());
  SslSessionPtr bare(SSL_SESSION_new());
  if (session == nullptr || ticket_content_.empty() || !bare) return nullptr;
  unsigned id_size = 0;
  const unsigned char* id = SSL_SESSION_get0_id_context(session, &id_size);
  SSL_SESSION_set_timeout(bare.get(), static_cast<long>(lifetime.count()));
  if (SSL_SESSION_set_protocol_version(bare.get(), TLS1_3_VERSION) != 1 ||
      SSL_SESSION_set_cipher(bare.get(), SSL_get_current_cipher(ssl())) != 1 ||
      SSL_SESSION_set1_master_key(bare.get(), reinterpret_cast<const unsigned char*>(psk.data()),
                                  psk.size()) != 1 ||
      SSL_SESSION_set1_id_context(bare.get(), id, id_size) != 1 ||
      SSL_SESSION_set1_ticket_appdata(bare.get(), ticket_content_.data(), ticket_content_.size()) !=
          1)
    return nullptr;
  return bare;
}

// OpenSSL derives the PSK of each ticket and writes one at the end of the handshake, behind the
// client's Finished. This and take_ticket() keep what ours will have in common with it: PSK, nonce
// and the random number that hides the ticket's age. complete() drops OpenSSL's tickets, and
// issue_tickets() makes ours after authorisation. The session of a ticket that is about to be
// written has the ticket's PSK for its master key.
int ServerHandshake::on_make_ticket(SSL* ssl, void*) {
  ServerHandshake& handshake = of(ssl);
  // All that is there will be dropped: it must be tickets, or the handshake fails.
  if (handshake.ticket_psks_.empty() && !handshake.engine_.output().empty()) return 0;
  const SSL_SESSION* const session = SSL_get_session(ssl);
  const std::size_t size = SSL_SESSION_get_master_key(session, nullptr, 0);
  if (size == 0 || size > kMaxHashSize) return 0;
  try {
    TicketPsk& ticket = handshake.ticket_psks_.emplace_back();
    SSL_SESSION_get_master_key(
        session, reinterpret_cast<unsigned char*>(ticket.psk.resize(size).data()), size);
    return 1;
  } catch (const std::exception& exception) {
    return 0;
  }
}

// RFC 8446 4.6.1: lifetime and age_add are four bytes each, then the nonce, with a length of one.
void ServerHandshake::take_ticket(std::span<const std::byte> new_session_ticket) {
  WireReader in(new_session_ticket);
  in.take(kHandshakeHeaderSize + 4);
  const auto age_add = in.take(4);
  const auto nonce = in.take(in.u8());
  if (!in.good() || ticket_psks_.empty()) return;
  std::ranges::copy(age_add, ticket_psks_.back().age_add.begin());
  ticket_psks_.back().nonce.assign(nonce.begin(), nonce.end());
}

// The keys for OpenSSL to open a ticket with (RFC 5077 4). Returns, as
// SSL_CTX_set_tlsext_ticket_key_evp_cb(3) defines it, 1 for a key of ours, 0 for none, -1 for an
// error. OpenSSL never seals: send_tickets() does.
int ServerHandshake::on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv,
                                   EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int sealing) {
  if (sealing != 0) return -1;
  const std::vector<TicketSecrets::Key>& keys = of(ssl).context_->ticket_keys_;
  const auto key = std::ranges::find_if(keys, [name](const TicketSecrets::Key& candidate) {
    return std::equal(candidate.name.begin(), candidate.name.end(), name);
  });
  if (key == keys.end()) return 0;
  char digest[] = "SHA256";
  const std::span<const std::byte> mac_key = key->mac.bytes();
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
                                        const_cast<void*>(static_cast<const void*>(mac_key.data())),
                                        mac_key.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  const auto* cipher_key = reinterpret_cast<const unsigned char*>(key->cipher.bytes().data());
  if (EVP_CipherInit_ex(cipher, ticket_cipher(), nullptr, cipher_key, iv, 0) != 1 ||
      EVP_MAC_CTX_set_params(mac, params) != 1)
    return -1;
  return 1;
}

SSL_TICKET_RETURN ServerHandshake::on_open_ticket(SSL* ssl, SSL_SESSION* session,
                                                  const unsigned char*, std::size_t,
                                                  SSL_TICKET_STATUS status, void*) {
  // A ticket that is not accepted leads to a full handshake, and that to new ones: RENEW.
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  try {
    return of(ssl).accepts_ticket(session) ? SSL_TICKET_RETURN_USE_RENEW
                                           : SSL_TICKET_RETURN_IGNORE_RENEW;
  } catch (const std::exception& exception) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
}

bool ServerHandshake::accepts_ticket(SSL_SESSION* session) const {
  if (wants_certificate_) return false;
  // Of another hash than the suite that was chosen: OpenSSL would give no new tickets for it.
  if (SSL_CIPHER_get_handshake_digest(SSL_SESSION_get0_cipher(session)) !=
      SSL_CIPHER_get_handshake_digest(SSL_get_pending_cipher(ssl())))
    return false;
  const auto content = ticket_content(session);
  if (!content) return false;
  const auto now = context_->now();
  const auto age = now - content->authenticated_at;
  const Credentials& credentials = context_->credentials();
  if (age < -kClockSkew || age >= credentials.settings().ticket_max_age) return false;
  return credentials.judge(content->trust, now).passed();
}

}  // namespace sallyport::ktls
