// Tickets: what ServerHandshake seals into them, and which of them it takes.
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <utility>

#include "ktls/handshake.h"

namespace sallyport::ktls {
namespace {

// A ticket is one handshake message of the client's memory: identities of thousands of names go
// without.
constexpr std::size_t kMaxTicketContent = 4096;
// Clocks of a fleet that shares ticket secrets differ a little.
constexpr std::chrono::seconds kClockSkew{60};

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
  if (state_ != State::kDone) std::abort();
  if (outcome_.state.version != RecordVersion::kTls13) return;
  if (context_->ticket_keys_.empty() || !ticket_lifetime()) return;
  ticket_ = TicketContent{*outcome_.trust, outcome_.authenticated_at}.serialise();
  if (ticket_.size() > kMaxTicketContent) return;

  const std::uint64_t sent_before = sent_records_;
  const std::size_t pending_before = BIO_ctrl_pending(out_);
  const unsigned count = outcome_.resumed ? 1 : context_->credentials().settings().tickets;
  bool good = true;
  for (unsigned i = 0; i < count && good; ++i) good = SSL_new_session_ticket(ssl_.get()) == 1;
  good = good && SSL_do_handshake(ssl_.get()) == 1;
  ticket_ = {};
  if (good) return;
  // Only memory or random numbers can be short here. A connection does without a ticket, but it
  // cannot do with half of one.
  (void)OpensslError::drain();
  if (pending_before != 0) std::abort();
  (void)BIO_reset(out_);
  sent_records_ = sent_before;
}

// Called with the session that OpenSSL is about to seal into a ticket. Its certificate would triple
// the ticket and cost a decoding at each resumption (FACTS: 449 against 170 µs), and nobody needs
// it: what is judged is the trust beside it. No call takes a certificate out of a session, so the
// session is read anew, in place, from the serialised form of one that has only what resumption
// needs.
bool ServerHandshake::make_ticket() {
  SSL_SESSION* session = SSL_get_session(ssl_.get());
  const auto lifetime = ticket_lifetime();
  if (session == nullptr || !lifetime || ticket_.empty()) return false;
  if (outcome_.resumed) {  // OpenSSL's copy of what we made bare before, with a PSK of its own
    SSL_SESSION_set_timeout(session, static_cast<long>(lifetime->count()));
    return SSL_SESSION_set1_ticket_appdata(session, ticket_.data(), ticket_.size()) == 1;
  }

  SslSessionPtr bare(SSL_SESSION_new());
  SecretBytes<kMaxHashSize> psk;
  const std::span<std::byte> psk_bytes =
      psk.resize(std::min(kMaxHashSize, SSL_SESSION_get_master_key(session, nullptr, 0)));
  auto* psk_data = reinterpret_cast<unsigned char*>(psk_bytes.data());
  unsigned id_size = 0;
  const unsigned char* id = SSL_SESSION_get0_id_context(session, &id_size);
  if (!bare || SSL_SESSION_get_master_key(session, psk_data, psk_bytes.size()) != psk_bytes.size())
    return false;
  SSL_SESSION_set_timeout(bare.get(), static_cast<long>(lifetime->count()));
  if (SSL_SESSION_set_protocol_version(bare.get(), TLS1_3_VERSION) != 1 ||
      SSL_SESSION_set_cipher(bare.get(), SSL_get_current_cipher(ssl_.get())) != 1 ||
      SSL_SESSION_set1_master_key(bare.get(), psk_data, psk_bytes.size()) != 1 ||
      SSL_SESSION_set1_id_context(bare.get(), id, id_size) != 1 ||
      SSL_SESSION_set1_ticket_appdata(bare.get(), ticket_.data(), ticket_.size()) != 1)
    return false;

  unsigned char* der = nullptr;
  const int size = i2d_SSL_SESSION(bare.get(), &der);
  if (size <= 0) return false;
  const unsigned char* at = der;
  const bool good = d2i_SSL_SESSION(&session, &at, size) != nullptr;
  OPENSSL_clear_free(der, static_cast<std::size_t>(size));
  return good;
}

int ServerHandshake::on_make_ticket(SSL* ssl, void*) {
  try {
    return of(ssl).make_ticket() ? 1 : 0;
  } catch (const std::exception& exception) {
    return 0;
  }
}

// RFC 5077 4 with our keys. Returns what SSL_CTX_set_tlsext_ticket_key_evp_cb(3) asks for:
// sealing 1 good, -1 error; opening 1 good, 0 not ours.
int ServerHandshake::on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv,
                                   EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int sealing) {
  const std::vector<TicketSecrets::Key>& keys = of(ssl).context_->ticket_keys_;
  const auto key = sealing != 0
                       ? keys.begin()
                       : std::ranges::find_if(keys, [name](const TicketSecrets::Key& candidate) {
                           return std::equal(candidate.name.begin(), candidate.name.end(), name);
                         });
  if (key == keys.end()) return 0;
  if (sealing != 0) {
    std::ranges::copy(key->name, name);
    if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1) return -1;
  }
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
  if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, cipher_key, iv, sealing) != 1 ||
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
