// Tickets: what ServerHandshake seals into them, and which of them it takes.
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <utility>

#include "ktls/base/wire.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/handshake/session_ticket.h"
#include "ktls/records/record.h"
#include "ktls/records/record_protection.h"

namespace sallyport::ktls {
namespace {

// A ticket is one handshake message of the client's memory: identities of thousands of names go
// without.
constexpr std::size_t kMaxTicketContent = 4096;
// Clocks of a fleet that shares ticket secrets differ a little.
constexpr std::chrono::seconds kClockSkew{60};
constexpr std::size_t kHandshakeHeaderSize = 4;  // RFC 8446 4: type and length

/// OpenSSL's serialised form of a session, cleansed when it dies: it holds the PSK. Empty if memory
/// is short.
class Serialised {
 public:
  explicit Serialised(const SSL_SESSION* session)
      : size_(std::max(0, i2d_SSL_SESSION(session, &der_))) {}
  ~Serialised() { OPENSSL_clear_free(der_, static_cast<std::size_t>(size_)); }
  Serialised(const Serialised&) = delete;
  Serialised& operator=(const Serialised&) = delete;

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

// How long a ticket made now would be good; nothing if not at all.
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
  if (outcome_.state.version != RecordVersion::kTls13) return;
  const auto lifetime = ticket_lifetime();
  if (context_->ticket_keys_.empty() || !lifetime) return;
  ticket_ = TicketContent{*outcome_.trust, outcome_.authenticated_at}.serialise();
  if (ticket_.size() > kMaxTicketContent) return;

  const unsigned count = outcome_.resumed ? 1 : context_->credentials().settings().tickets;
  // Only memory or random numbers can be short here: a connection does without tickets.
  if (!derive_tickets(count) || !send_tickets(*lifetime)) (void)OpensslError::drain();
  ticket_ = {};
  tickets_.clear();
}

// OpenSSL derives the PSK of each ticket, and would send it a session identifier of its cache
// (SSL_OP_NO_TICKET, by now, means that). on_make_ticket() and on_message() take PSK and nonce, and
// OpenSSL's messages are dropped: to have it seal the session costs a tenth of a resumed handshake,
// mostly by writing the session out four times.
bool ServerHandshake::derive_tickets(unsigned count) {
  if (!engine_.output().empty()) std::abort();
  const std::uint64_t sent_before = engine_.sent_records();
  SSL_set_options(ssl(), SSL_OP_NO_TICKET);
  bool good = true;
  for (unsigned i = 0; i < count && good; ++i) good = SSL_new_session_ticket(ssl()) == 1;
  good = good && SSL_do_handshake(ssl()) == 1;
  engine_.drop_output(sent_before);
  return good &&
         std::ranges::none_of(tickets_, [](const Ticket& each) { return each.nonce.empty(); });
}

bool ServerHandshake::send_tickets(std::chrono::seconds lifetime) {
  const CipherSuite suite = outcome_.state.suite;
  CipherContexts contexts(1);
  DirectionState tx = engine_.secrets().server;
  tx.rec_seq = engine_.sent_records();
  RecordSealer sealer(contexts, suite, std::move(tx));
  for (const Ticket& each : tickets_) {
    const SslSessionPtr bare = bare_session(each.psk.bytes(), lifetime);
    if (!bare) return false;
    const Serialised session(bare.get());
    if (session.bytes().empty()) return false;
    const auto ticket =
        seal_session(context_->ticket_keys_.front(), std::as_bytes(session.bytes()));
    const auto message = ticket ? new_session_ticket(lifetime, each.nonce, *ticket) : std::nullopt;
    if (!message) return false;

    const iovec span{const_cast<std::byte*>(message->data()), message->size()};
    PlaintextCursor content{std::span(&span, 1)};
    std::vector<std::byte> record(message->size() + record_overhead(RecordVersion::kTls13, suite));
    const auto sealed = sealer.seal(ContentType::kHandshake, content, record);
    if (!sealed) return false;
    if (!engine_.append_output(std::span(record).first(*sealed))) return false;
  }
  return true;
}

// A session that has only what resumption needs. A client's certificate would triple the ticket and
// cost a decoding at each resumption, and nobody needs it: what is judged is the trust beside it.
SslSessionPtr ServerHandshake::bare_session(std::span<const std::byte> psk,
                                            std::chrono::seconds lifetime) const {
  const SSL_SESSION* session = SSL_get_session(ssl());
  SslSessionPtr bare(SSL_SESSION_new());
  if (session == nullptr || ticket_.empty() || !bare) return nullptr;
  unsigned id_size = 0;
  const unsigned char* id = SSL_SESSION_get0_id_context(session, &id_size);
  SSL_SESSION_set_timeout(bare.get(), static_cast<long>(lifetime.count()));
  if (SSL_SESSION_set_protocol_version(bare.get(), TLS1_3_VERSION) != 1 ||
      SSL_SESSION_set_cipher(bare.get(), SSL_get_current_cipher(ssl())) != 1 ||
      SSL_SESSION_set1_master_key(bare.get(), reinterpret_cast<const unsigned char*>(psk.data()),
                                  psk.size()) != 1 ||
      SSL_SESSION_set1_id_context(bare.get(), id, id_size) != 1 ||
      SSL_SESSION_set1_ticket_appdata(bare.get(), ticket_.data(), ticket_.size()) != 1)
    return nullptr;
  return bare;
}

// The session of a ticket that OpenSSL is about to send has the ticket's PSK for its master key.
int ServerHandshake::on_make_ticket(SSL* ssl, void*) {
  const SSL_SESSION* const session = SSL_get_session(ssl);
  const std::size_t size = SSL_SESSION_get_master_key(session, nullptr, 0);
  if (size == 0 || size > kMaxHashSize) return 0;
  try {
    Ticket& ticket = of(ssl).tickets_.emplace_back();
    SSL_SESSION_get_master_key(
        session, reinterpret_cast<unsigned char*>(ticket.psk.resize(size).data()), size);
    return 1;
  } catch (const std::exception& exception) {
    return 0;
  }
}

// RFC 8446 4.6.1: lifetime and age_add are four bytes each, then the nonce, with a length of one.
void ServerHandshake::take_nonce(std::span<const std::byte> new_session_ticket) {
  WireReader in(new_session_ticket);
  in.take(kHandshakeHeaderSize + 8);
  const auto nonce = in.take(in.u8());
  if (in.good() && !tickets_.empty()) tickets_.back().nonce.assign(nonce.begin(), nonce.end());
}

// RFC 5077 4 with our keys. Returns what SSL_CTX_set_tlsext_ticket_key_evp_cb(3) asks for: 1 good,
// 0 not ours, -1 error. OpenSSL has nothing to seal: send_tickets() does that.
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
  // Whatever does not fit becomes a full handshake, silently.
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
    return SSL_TICKET_RETURN_IGNORE;
  try {
    return of(ssl).ticket_fits(session) ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_IGNORE;
  } catch (const std::exception& exception) {
    return SSL_TICKET_RETURN_IGNORE;
  }
}

bool ServerHandshake::ticket_fits(SSL_SESSION* session) const {
  const auto content = ticket_content(session);
  if (!content) return false;
  const auto now = context_->now();
  const auto age = now - content->authenticated_at;
  const Credentials& credentials = context_->credentials();
  if (age < -kClockSkew || age >= credentials.settings().ticket_max_age) return false;
  return credentials.judge(content->trust, now) == HandshakeResult::kSuccess;
}

}  // namespace sallyport::ktls
