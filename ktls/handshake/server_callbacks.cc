// The functions that OpenSSL calls during a server's handshake. No exception may cross its C
// frames, so each callback catches; only std::bad_alloc can come.
#include <algorithm>
#include <exception>
#include <utility>

#include "ktls/base/wire.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/trust/verify_chain.h"

namespace sallyport::ktls {
namespace {

struct Extension {
  bool present = false;
  std::span<const std::byte> body{};
};

Extension extension(SSL* ssl, unsigned type) {
  const unsigned char* body = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, type, &body, &size) != 1) return {};
  return {.present = true, .body = {reinterpret_cast<const std::byte*>(body), size}};
}

}  // namespace

void ServerHandshake::install_callbacks(SSL_CTX* context) {
  SSL_CTX_set_client_hello_cb(context, on_hello, nullptr);
  SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
  SSL_CTX_set_cert_verify_callback(context, on_verify, nullptr);
}

ServerHandshake& ServerHandshake::of(const SSL* ssl) {
  return *static_cast<ServerHandshake*>(HandshakeEngine::of(ssl).owner());
}

// ---- ClientHello

int ServerHandshake::on_hello(SSL* ssl, int* alert, void*) {
  ServerHandshake& handshake = of(ssl);
  try {
    return handshake.handle_hello(alert);
  } catch (const std::exception& exception) {
    *alert = SSL_AD_INTERNAL_ERROR;
    handshake.engine_.refuse({.result = HandshakeResult::kUnknownFailure});
    return SSL_CLIENT_HELLO_ERROR;
  }
}

// OpenSSL calls this with the first ClientHello, with the same again once the owner has decided,
// and with the second ClientHello, which answers a HelloRetryRequest.
int ServerHandshake::handle_hello(int* alert) {
  switch (hello_state_) {
    case HelloState::kAwaited:
      return read_hello(alert);
    case HelloState::kRead:  // advance() before the decision
      return SSL_CLIENT_HELLO_RETRY;
    case HelloState::kRejected:
      *alert = static_cast<int>(
          alert_for(engine_.failure().result).value_or(AlertDescription::kInternalError));
      return SSL_CLIENT_HELLO_ERROR;
    case HelloState::kAccepted:
      hello_state_ = HelloState::kPassed;
      return continue_with_hello(alert);
    case HelloState::kPassed:
      return compare_second_hello(alert);
  }
  return SSL_CLIENT_HELLO_ERROR;
}

int ServerHandshake::refuse_hello(HandshakeResult result, int description, const char* detail,
                                  int* alert) {
  engine_.refuse({.result = result, .detail = detail});
  *alert = description;
  return SSL_CLIENT_HELLO_ERROR;
}

int ServerHandshake::read_hello(int* alert) {
  const Extension sni = extension(ssl(), TLSEXT_TYPE_server_name);
  if (sni.present) {
    const auto name = parse_server_name(sni.body);
    if (!name)
      return refuse_hello(HandshakeResult::kUnexpectedMessage, SSL_AD_DECODE_ERROR,
                          "malformed server_name extension", alert);
    sni_ = *name;
  }
  const Extension alpn = extension(ssl(), TLSEXT_TYPE_application_layer_protocol_negotiation);
  if (alpn.present) {
    alpn_offer_ = as_text(alpn.body);
    auto offer = parse_alpn(std::as_bytes(std::span(alpn_offer_)));
    if (!offer)
      return refuse_hello(HandshakeResult::kUnexpectedMessage, SSL_AD_DECODE_ERROR,
                          "malformed application_layer_protocol_negotiation extension", alert);
    protocols_ = std::move(*offer);
  }
  hello_ = {.sni = sni_, .alpn = protocols_};
  hello_state_ = HelloState::kRead;
  return SSL_CLIENT_HELLO_RETRY;
}

// OpenSSL answers max_fragment_length, and cannot be told not to: keep to it. OpenSSL alone would
// not do so in a resumption, since the session in a ticket does not have it.
void ServerHandshake::limit_fragments() {
  const Extension wanted = extension(ssl(), TLSEXT_TYPE_max_fragment_length);
  const auto limit = parse_max_fragment_length(wanted.body);
  if (!limit) return;
  outcome_.state.max_fragment = *limit;
  SSL_set_max_send_fragment(ssl(), *limit);
}

int ServerHandshake::continue_with_hello(int* alert) {
  limit_fragments();
  if (!take_terms() || !choose_curve()) {
    (void)OpensslError::drain();
    return refuse_hello(HandshakeResult::kUnknownFailure, SSL_AD_INTERNAL_ERROR,
                        "no memory for the route's certificates", alert);
  }
  if (!becomes_tls12()) return SSL_CLIENT_HELLO_SUCCESS;
  // A ticket of TLS 1.2 is sent before Finished, so before the peer is authorised.
  SSL_set_options(ssl(), SSL_OP_NO_TICKET);
  if (extension(ssl(), TLSEXT_TYPE_extended_master_secret).present) return SSL_CLIENT_HELLO_SUCCESS;
  return refuse_hello(HandshakeResult::kKeyExchangeFailure, SSL_AD_HANDSHAKE_FAILURE,
                      "TLS 1.2 without extended_master_secret (RFC 7627)", alert);
}

// The context's certificates, trust and callbacks become the handshake's. Tickets are still looked
// up in the first context, whose callbacks ask the handshake for its own (SSL_set_SSL_CTX(3)).
bool ServerHandshake::take_terms() {
  const RouteTerms terms = std::exchange(terms_, {});
  if (terms.context && terms.context != context_) {
    if (SSL_set_SSL_CTX(ssl(), terms.context->ctx_.get()) == nullptr) return false;
    context_ = terms.context;
  }
  if (terms.ticket_binding != nullptr) context_->bind_sessions(ssl(), *terms.ticket_binding);
  ca_names_memory_ = context_->set_ca_names(ssl(), terms.clients);
  wants_certificate_ = terms.certificate;
  return !wants_certificate_ || SSL_set_num_tickets(ssl(), 0) == 1;
}

bool ServerHandshake::choose_curve() {
  if (!context_->curves_.several()) return true;
  return context_->curves_.choose(
      ssl(), {.signature_algorithms = extension(ssl(), TLSEXT_TYPE_signature_algorithms).body,
              .supported_groups = extension(ssl(), TLSEXT_TYPE_supported_groups).body,
              .version = becomes_tls12() ? RecordVersion::kTls12 : RecordVersion::kTls13});
}

// RFC 8446 4.1.2 lets neither server_name nor ALPN change in the answer to a HelloRetryRequest.
int ServerHandshake::compare_second_hello(int* alert) {
  const Extension sni = extension(ssl(), TLSEXT_TYPE_server_name);
  const Extension alpn = extension(ssl(), TLSEXT_TYPE_application_layer_protocol_negotiation);
  const auto name = sni.present ? parse_server_name(sni.body) : std::string_view();
  if (name == hello_.sni && std::ranges::equal(alpn.body, std::as_bytes(std::span(alpn_offer_))))
    return SSL_CLIENT_HELLO_SUCCESS;
  return refuse_hello(HandshakeResult::kUnexpectedMessage, SSL_AD_ILLEGAL_PARAMETER,
                      "the second ClientHello differs from the first", alert);
}

// Whether OpenSSL will choose TLS 1.2 for this hello, if it does not refuse it.
bool ServerHandshake::becomes_tls12() const {
  if (context_->credentials().settings().min_version != RecordVersion::kTls12) return false;
  const Extension versions = extension(ssl(), TLSEXT_TYPE_supported_versions);
  if (versions.present) return !names_version(versions.body, TLS1_3_VERSION);
  return SSL_client_hello_get0_legacy_version(ssl()) >= TLS1_2_VERSION;
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
  const ServerContext& context = *handshake.context_;
  try {
    auto verified = verify_chain(store, context.credentials(), handshake.context_->chains_,
                                 context.now(), Role::kClient);
    if (verified) {
      handshake.trust_ = *std::move(verified);
      return 1;
    }
    handshake.engine_.refuse(std::move(verified.error()));
  } catch (const std::exception& exception) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    handshake.engine_.refuse({.result = HandshakeResult::kUnknownFailure});
  }
  return 0;
}

}  // namespace sallyport::ktls
