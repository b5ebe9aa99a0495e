// What OpenSSL calls in the middle of ServerHandshake::step(). No exception may cross its C frames,
// so each callback catches: what can throw is memory and the gateway's routing.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <utility>

#include "ktls/handshake/classify.h"
#include "ktls/handshake/client_hello.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

// A serial of more than 20 bytes breaks RFC 5280 4.1.2.2; some do. PeerTrust takes this much.
constexpr std::size_t kMaxSerial = 64;
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
    if (!becomes_tls12()) return SSL_CLIENT_HELLO_SUCCESS;
    // A ticket of TLS 1.2 is sent before Finished, so before anybody is authorised.
    SSL_set_options(ssl_.get(), SSL_OP_NO_TICKET);
    bool has_extended_master_secret = false;
    extension(ssl_.get(), TLSEXT_TYPE_extended_master_secret, has_extended_master_secret);
    if (has_extended_master_secret) return SSL_CLIENT_HELLO_SUCCESS;
    return refuse_with(HandshakeResult::kKeyExchangeFailure, SSL_AD_HANDSHAKE_FAILURE,
                       "TLS 1.2 without extended_master_secret (RFC 7627)");
  }
  return verdict.error() == HelloRefusal::kNoRoute
             ? refuse_with(HandshakeResult::kNoRoute, SSL_AD_UNRECOGNIZED_NAME,
                           "no route for this server name")
             : refuse_with(HandshakeResult::kNoApplicationProtocol, SSL_AD_NO_APPLICATION_PROTOCOL,
                           "no route for these application protocols");
}

// Whether OpenSSL will choose TLS 1.2 for this hello, if it does not refuse it.
bool ServerHandshake::becomes_tls12() const {
  if (context_->credentials().settings().min_version != RecordVersion::kTls12) return false;
  bool present = false;
  const auto versions = extension(ssl_.get(), TLSEXT_TYPE_supported_versions, present);
  if (present) return !names_version(versions, TLS1_3_VERSION);
  return SSL_client_hello_get0_legacy_version(ssl_.get()) >= TLS1_2_VERSION;
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

  // Seen before, under the same trust: only what changes with time is judged again. Whatever the
  // judgement does not like takes the long way, which finds the words and the alert for it.
  const auto name = chain_name(leaf, X509_STORE_CTX_get0_untrusted(store));
  if (auto known = name ? context_->chains_.find(*name) : nullptr;
      known != nullptr &&
      context_->credentials().judge(*known, context_->now()) == HandshakeResult::kSuccess) {
    trust_ = std::move(known);
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
  }

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
  trust_.reset(new PeerTrust(std::move(trust)));
  if (name) context_->chains_.remember(*name, trust_);
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

// Our write keys change right behind our Finished (in TLS 1.2 right before it), so that is where
// the sequence numbers start; what is sealed after it in here (tickets) the record layer must not
// number again.
void ServerHandshake::on_message(int write, int, int type, const void* data, std::size_t size,
                                 SSL* ssl, void*) {
  if (write == 0) return;
  ServerHandshake& handshake = of(ssl);
  if (type == SSL3_RT_HANDSHAKE && size > 0 &&
      *static_cast<const unsigned char*>(data) == SSL3_MT_FINISHED)
    handshake.sent_records_ = 0;
  if (type == SSL3_RT_HEADER) ++handshake.sent_records_;
}

}  // namespace sallyport::ktls
