// What OpenSSL calls in the middle of ServerHandshake::step(). No exception may cross its C frames,
// so each callback catches: what can throw is memory and the gateway's routing.
#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <utility>

#include "ktls/classify.h"
#include "ktls/handshake.h"
#include "ktls/hello.h"
#include "ktls/x509_facts.h"

namespace sallyport::ktls {
namespace {

// A serial of more than 20 bytes breaks RFC 5280 4.1.2.2; some do. PeerTrust takes this much.
constexpr std::size_t kMaxSerial = 64;
// A ticket is one handshake message of the client's memory: identities of thousands of names go
// without.
constexpr std::size_t kMaxTicketContent = 4096;
// Clocks of a fleet that shares ticket secrets differ a little.
constexpr std::chrono::seconds kClockSkew{60};

std::span<const std::byte> extension(SSL* ssl, unsigned type, bool& present) {
  const unsigned char* body = nullptr;
  std::size_t size = 0;
  present = SSL_client_hello_get0_ext(ssl, type, &body, &size) == 1;
  return {reinterpret_cast<const std::byte*>(body), present ? size : 0};
}

int accept_expired_crl(int ok, X509_STORE_CTX* store) {
  return ok == 1 || X509_STORE_CTX_get_error(store) == X509_V_ERR_CRL_HAS_EXPIRED ? 1 : 0;
}

HandshakeFailure describe(HandshakeResult result, std::string detail, const X509* certificate) {
  HandshakeFailure failure{.result = result, .detail = std::move(detail)};
  if (certificate == nullptr) return failure;
  failure.issuer = name_text(X509_get_issuer_name(certificate));
  failure.serial = serial_text(X509_get0_serialNumber(certificate));
  failure.not_after = to_time(X509_get0_notAfter(certificate));
  return failure;
}

std::optional<TrafficSecret> parse_secret(std::string_view hex) {
  SecretBytes<kMaxHashSize> secret;
  if (hex.size() % 2 != 0 || hex.size() / 2 > kMaxHashSize) return std::nullopt;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  const std::span<std::byte> out = secret.resize(hex.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = digit(hex[2 * i]);
    const int low = digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out[i] = static_cast<std::byte>(high << 4 | low);
  }
  return TrafficSecret(secret.bytes());
}

}  // namespace

ServerHandshake& ServerHandshake::of(const SSL* ssl) {
  auto* handshake = static_cast<ServerHandshake*>(SSL_get_app_data(ssl));
  if (handshake == nullptr) std::abort();
  return *handshake;
}

// ---- ClientHello

int ServerHandshake::on_hello(SSL* ssl, int* alert, void*) {
  ServerHandshake& handshake = of(ssl);
  try {
    return handshake.hello(alert);
  } catch (const std::exception& exception) {
    *alert = SSL_AD_INTERNAL_ERROR;
    handshake.refused_ = true;
    handshake.failure_.result = HandshakeResult::kUnknownFailure;
    return SSL_CLIENT_HELLO_ERROR;
  }
}

int ServerHandshake::hello(int* alert) {
  const auto refuse_with = [&](HandshakeResult result, int description, const char* detail) {
    refuse({.result = result, .detail = detail});
    *alert = description;
    return SSL_CLIENT_HELLO_ERROR;
  };
  bool has_sni = false;
  bool has_alpn = false;
  const auto sni_body = extension(ssl_.get(), TLSEXT_TYPE_server_name, has_sni);
  const auto alpn_body =
      extension(ssl_.get(), TLSEXT_TYPE_application_layer_protocol_negotiation, has_alpn);
  ClientHello hello;
  std::vector<std::string_view> protocols;
  if (has_sni) {
    const auto sni = parse_server_name(sni_body);
    if (!sni)
      return refuse_with(HandshakeResult::kUnexpectedMessage, SSL_AD_DECODE_ERROR,
                         "malformed server_name extension");
    hello.sni = *sni;
  }
  if (has_alpn) {
    auto offer = parse_alpn(alpn_body);
    if (!offer)
      return refuse_with(HandshakeResult::kUnexpectedMessage, SSL_AD_DECODE_ERROR,
                         "malformed application_layer_protocol_negotiation extension");
    protocols = std::move(*offer);
  }
  hello.alpn = protocols;

  if (saw_hello_) {  // the answer to our HelloRetryRequest: RFC 8446 4.1.2 lets neither change
    const bool same = hello.sni == outcome_.sni && std::ranges::equal(protocols, offered_);
    if (same) return SSL_CLIENT_HELLO_SUCCESS;
    return refuse_with(HandshakeResult::kUnexpectedMessage, SSL_AD_ILLEGAL_PARAMETER,
                       "the second ClientHello differs from the first");
  }
  saw_hello_ = true;
  outcome_.sni = hello.sni;
  offered_.assign(protocols.begin(), protocols.end());
  auto verdict = route_(hello);
  if (verdict) {
    confirmed_alpn_ = std::move(verdict->alpn);
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  return verdict.error() == HelloRefusal::kNoRoute
             ? refuse_with(HandshakeResult::kNoRoute, SSL_AD_UNRECOGNIZED_NAME,
                           "no route for this server name")
             : refuse_with(HandshakeResult::kNoApplicationProtocol, SSL_AD_NO_APPLICATION_PROTOCOL,
                           "no route for these application protocols");
}

int ServerHandshake::on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                             const unsigned char* in, unsigned in_size, void*) {
  const std::string& wanted = of(ssl).confirmed_alpn_;
  if (wanted.empty()) return SSL_TLSEXT_ERR_NOACK;
  for (unsigned at = 0; at < in_size; at += 1U + in[at]) {
    const std::string_view protocol(reinterpret_cast<const char*>(in) + at + 1, in[at]);
    if (protocol != wanted) continue;
    *out = in + at + 1;
    *out_size = in[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// ---- the client's certificate

int ServerHandshake::on_verify(X509_STORE_CTX* store, void*) {
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  ServerHandshake& handshake = of(ssl);
  try {
    return handshake.verify(store);
  } catch (const std::exception& exception) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    handshake.refused_ = true;
    handshake.failure_.result = HandshakeResult::kUnknownFailure;
    return 0;
  }
}

int ServerHandshake::verify(X509_STORE_CTX* store) {
  X509* leaf = X509_STORE_CTX_get0_cert(store);
  const auto refuse_with = [&](HandshakeResult result, std::string detail, const X509* certificate,
                               int error) {
    X509_STORE_CTX_set_error(store, verify_error_for_alert(result, error));
    refuse(describe(result, std::move(detail), certificate));
    return 0;
  };

  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store),
                             context_->now().time_since_epoch().count());
  if (context_->credentials().settings().accept_expired_crl)
    X509_STORE_CTX_set_verify_cb(store, accept_expired_crl);
  if (X509_verify_cert(store) != 1) {
    int error = X509_STORE_CTX_get_error(store);
    if (error == X509_V_OK) error = X509_V_ERR_UNSPECIFIED;
    HandshakeResult result = classify_verify_error(error);
    // Extensions that cannot be read make OpenSSL complain of whatever it looked for in them.
    const bool unreadable = (X509_get_extension_flags(leaf) & EXFLAG_INVALID) != 0;
    if (unreadable && result != HandshakeResult::kCertificateAuthorityInvalid)
      result = HandshakeResult::kCertificateMalformed;
    const X509* culprit = X509_STORE_CTX_get_current_cert(store);
    if (culprit == nullptr) culprit = leaf;
    std::string detail = X509_verify_cert_error_string(error);
    if (unreadable) detail += " (extensions cannot be decoded)";
    detail += ": " + name_text(X509_get_subject_name(culprit));
    return refuse_with(result, std::move(detail), culprit, error);
  }

  auto identity = identify(leaf);
  if (!identity)
    return refuse_with(HandshakeResult::kCertificateMalformed, std::move(identity.error()), leaf,
                       X509_V_ERR_CERT_REJECTED);
  PeerTrust trust = make_peer_trust(X509_STORE_CTX_get0_chain(store), std::move(*identity));
  const auto too_long = [](const PeerTrust::Link& link) { return link.serial.size() > kMaxSerial; };
  if (std::ranges::any_of(trust.links, too_long))
    return refuse_with(HandshakeResult::kCertificateMalformed,
                       "serial number of more than 64 bytes", leaf, X509_V_ERR_CERT_REJECTED);

  switch (context_->credentials().vouches(trust.anchor_key, trust.identity)) {
    case Credentials::Vouches::kEverything:
      break;
    case Credentials::Vouches::kSpiffeOnly:
      trust.identity.dns.clear();
      break;
    case Credentials::Vouches::kNothing:
      return refuse_with(HandshakeResult::kCertificateAuthorityInvalid,
                         "the authority's bundle does not vouch for " +
                             (trust.identity.spiffe.empty() ? "certificates without a SPIFFE ID"
                                                            : trust.identity.spiffe),
                         leaf, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
  }
  trust_ = std::move(trust);
  X509_STORE_CTX_set_error(store, X509_V_OK);  // an accepted CRL may have left its mark
  return 1;
}

// ---- secrets and sequence numbers

// NSS key log format: label, client random, secret; the last two in hexadecimal. OpenSSL cleanses
// its line.
void ServerHandshake::on_keylog(const SSL* ssl, const char* line) {
  const std::string_view text(line);
  SessionState& state = of(ssl).outcome_.state;
  TrafficSecret* target = nullptr;
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) target = &state.rx.secret;
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) target = &state.tx.secret;
  if (target == nullptr) return;
  if (auto secret = parse_secret(text.substr(text.rfind(' ') + 1))) *target = std::move(*secret);
}

// Our write keys change right behind our Finished, so that is where the sequence numbers start;
// what is sealed after it in here (tickets) the record layer must not number again.
void ServerHandshake::on_message(int write, int, int type, const void* data, std::size_t size,
                                 SSL* ssl, void*) {
  if (write == 0) return;
  ServerHandshake& handshake = of(ssl);
  if (type == SSL3_RT_HANDSHAKE && size > 0 &&
      *static_cast<const unsigned char*>(data) == SSL3_MT_FINISHED)
    handshake.sent_records_ = 0;
  if (type == SSL3_RT_HEADER) ++handshake.sent_records_;
}

// ---- tickets

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
