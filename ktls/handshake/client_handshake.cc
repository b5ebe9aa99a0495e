#include "ktls/handshake/client_handshake.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <new>
#include <utility>

#include "ktls/base/hex.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/base/wire.h"
#include "ktls/handshake/client_hello.h"
#include "ktls/trust/presented_certificate.h"
#include "ktls/trust/verify_chain.h"

namespace sallyport::ktls {
namespace {

constexpr std::size_t kMaxServerName = 255;
constexpr std::size_t kMaxProtocol = 255;
constexpr std::size_t kMaxProtocols = 0xffff;
// A session has the server's certificates, decoded, and takes a multiple of their bytes.
constexpr std::size_t kMaxKeptCertificates = 8192;
// How far the clock may have been set back since a session was made.
constexpr std::chrono::seconds kClockStep{60};

// A colon is in no host name.
bool is_ip_literal(const std::string& name) {
  in_addr address{};
  return name.find(':') != std::string::npos || inet_pton(AF_INET, name.c_str(), &address) == 1;
}

// Of a protocol, which may be any bytes, for the log.
std::string name_of(std::string_view protocol) {
  const bool is_text = std::ranges::all_of(protocol, [](char c) { return c > ' ' && c < '\x7f'; });
  return is_text ? std::string(protocol) : encode_hex(std::as_bytes(std::span(protocol)));
}

// Of protocols, each behind its length.
std::string names_of(std::span<const std::byte> protocols) {
  std::string names;
  WireReader in(protocols);
  while (!in.at_end()) {
    if (!names.empty()) names += " or ";
    names += name_of(as_text(in.take(in.u8())));
  }
  return names;
}

// The extensions of a ServerHello or of EncryptedExtensions.
std::span<const std::byte> extensions_of(std::span<const std::byte> message) {
  WireReader in(message);
  const int type = in.u8();
  in.take(3);  // length
  if (type == SSL3_MT_SERVER_HELLO) {
    in.take(2 + SSL3_RANDOM_SIZE);  // legacy_version, random
    in.take(in.u8());               // legacy_session_id_echo
    in.take(2 + 1);                 // cipher_suite, legacy_compression_method
  }
  return in.take(in.u16());
}

// The protocol that a server chose; empty where it chose none, or where OpenSSL will refuse the
// message because it is malformed.
std::string_view chosen_protocol(std::span<const std::byte> message) {
  WireReader extensions(extensions_of(message));
  while (extensions.good() && !extensions.at_end()) {
    const int type = extensions.u16();
    const auto body = extensions.take(extensions.u16());
    if (type != TLSEXT_TYPE_application_layer_protocol_negotiation) continue;
    const auto protocols = parse_alpn(body);
    return protocols && protocols->size() == 1 ? protocols->front() : std::string_view();
  }
  return {};
}

// Those that the server's CertificateRequest has (RFC 8446 4.3.2), as in an extension.
std::vector<std::byte> signature_algorithms(SSL* ssl) {
  const int count = SSL_get_sigalgs(ssl, 0, nullptr, nullptr, nullptr, nullptr, nullptr);
  WireWriter out;
  out.u16(2 * static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    unsigned char low = 0;
    unsigned char high = 0;
    SSL_get_sigalgs(ssl, i, nullptr, nullptr, nullptr, &low, &high);
    out.u8(high);
    out.u8(low);
  }
  return std::move(out).take();
}

// A server whose chain is good and whose identity is not the one that is wanted. It has not proven
// yet that it has the key.
HandshakeFailure wrong_identity(const PeerTrust& trust, std::string why,
                                const ClientContext& context) {
  auto claim = std::make_shared<PresentedCertificate>(presented(trust));
  claim->verified = false;
  HandshakeFailure failure{.result = HandshakeResult::kNotAuthorized, .detail = std::move(why)};
  failure.issuer = claim->issuer;
  failure.serial = claim->serial;
  failure.not_after = claim->not_after;
  (void)context.credentials().judge(trust, context.now(), &failure.steps);
  failure.steps.push_back({"rule", false, failure.detail});
  failure.presented = std::move(claim);
  return failure;
}

}  // namespace

ClientHandshake::ClientHandshake(std::shared_ptr<ClientContext> context, ClientTerms terms)
    : context_(std::move(context)),
      refuse_(std::move(terms.refuse)),
      session_(std::move(terms.session)),
      engine_(context_->ctx_.get(), this) {
  if (!refuse_) std::abort();
  engine_.set_client();
  engine_.on_extensions(on_extensions);
  const bool tls12 = terms.min_version == RecordVersion::kTls12;
  if (SSL_set_min_proto_version(ssl(), tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) != 1) std::abort();
  offer_name(terms.server_name);
  offer_protocols(terms.alpn);
}

ClientHandshake::~ClientHandshake() = default;

void ClientHandshake::offer_name(std::string_view server_name) {
  if (server_name.ends_with('.')) server_name.remove_suffix(1);
  if (server_name.size() > kMaxServerName) std::abort();
  const std::string name(server_name);
  if (name.empty() || is_ip_literal(name)) return;
  if (SSL_set_tlsext_host_name(ssl(), name.c_str()) != 1) throw std::bad_alloc();
}

void ClientHandshake::offer_protocols(std::span<const std::string_view> protocols) {
  if (protocols.empty()) return;
  WireWriter wire;
  for (const std::string_view protocol : protocols) {
    if (protocol.empty() || protocol.size() > kMaxProtocol) std::abort();
    wire.u8(static_cast<std::uint8_t>(protocol.size()));
    wire.raw(std::as_bytes(std::span(protocol)));
  }
  protocols_ = std::move(wire).take();
  if (protocols_.size() > kMaxProtocols) std::abort();
  if (SSL_set_alpn_protos(ssl(), raw(protocols_.data()),
                          static_cast<unsigned>(protocols_.size())) != 0)
    throw std::bad_alloc();
}

bool ClientHandshake::offered(std::string_view protocol) const {
  WireReader in(protocols_);
  while (!in.at_end())
    if (as_text(in.take(in.u8())) == protocol) return true;
  return false;
}

HandshakeFailure ClientHandshake::not_offered(std::string_view protocol) const {
  return {.result = HandshakeResult::kUnexpectedMessage,
          .detail = "chose ALPN protocol " + name_of(protocol) + ", not " + names_of(protocols_)};
}

// A session that cannot be offered leads to a full handshake.
void ClientHandshake::offer_session(std::shared_ptr<const ClientSession> session) {
  const auto now = context_->now();
  if (session->expires_at <= now || session->authenticated_at > now + kClockStep) return;
  if (!context_->credentials().judge(*session->trust, now).passed()) return;
  if (refuse_(*session->trust)) return;
  if (SSL_set_session(ssl(), session->session.get()) == 1) {
    session_ = std::move(session);
  } else {
    (void)OpensslError::drain();
  }
}

ClientHandshake::Step ClientHandshake::advance() {
  if (!std::exchange(begun_, true) && session_) offer_session(std::exchange(session_, nullptr));
  switch (engine_.advance()) {
    case HandshakeEngine::Step::kWantRead:
      return Step::kWantRead;
    case HandshakeEngine::Step::kSuspended:  // no callback of a client asks for it
      break;
    case HandshakeEngine::Step::kDone:
      return complete_ ? Step::kDone : complete();
    case HandshakeEngine::Step::kFailed:
      return Step::kFailed;
  }
  std::abort();
}

// Of a resumed session: the server proved that it has it, and no certificate was sent.
void ClientHandshake::take_facts() {
  outcome_.resumed = SSL_session_reused(ssl()) == 1;
  outcome_.authenticated_at = context_->now();
  if (!outcome_.resumed) return;
  trust_ = session_ ? session_->trust : nullptr;
  if (session_) outcome_.authenticated_at = session_->authenticated_at;
}

ClientHandshake::Step ClientHandshake::complete() {
  take_facts();
  outcome_.trust = std::move(trust_);
  if (!conclude(engine_, Role::kClient, outcome_)) return Step::kFailed;
  // Older releases of OpenSSL do not compare it with the offer.
  if (!outcome_.alpn.empty() && !offered(outcome_.alpn)) {
    refuse_concluded(engine_, Role::kClient, outcome_.state, not_offered(outcome_.alpn),
                     AlertDescription::kIllegalParameter);
    return Step::kFailed;
  }
  complete_ = true;
  refuse_ = nullptr;  // may refer to what ends before this
  return Step::kDone;
}

void ClientHandshake::intern_trust() {
  if (!complete_) std::abort();
  outcome_.trust = context_->trusts_.intern(std::move(outcome_.trust));
}

std::unique_ptr<TicketSink> ClientHandshake::collect_sessions(TicketTaker::Keep keep) {
  if (!complete_ || ssl() == nullptr) std::abort();
  if (engine_.certificate_bytes() > kMaxKeptCertificates) return nullptr;
  if (outcome_.state.version == RecordVersion::kTls12) {
    // Where the server gave nothing new, the one that was offered is still kept.
    if (session_ && SSL_get_session(ssl()) == session_->session.get()) return nullptr;
    if (auto session =
            latest_session(ssl(), outcome_.trust, outcome_.authenticated_at, context_->now()))
      keep(*std::move(session));
    return nullptr;
  }
  return std::make_unique<TicketTaker>(
      engine_.release_openssl(),
      TicketTaker::Facts{.trust = outcome_.trust,
                         .authenticated_at = outcome_.authenticated_at,
                         .suite = outcome_.state.suite,
                         .server_secret = engine_.secrets().server.secret()},
      context_->clock_, std::move(keep));
}

Outcome ClientHandshake::finish() {
  if (!complete_) std::abort();
  complete_ = false;
  hand_over(engine_, Role::kClient, outcome_);
  return std::move(outcome_);
}

// ---- OpenSSL's callbacks. No exception may cross its C frames; only std::bad_alloc can come.

void ClientHandshake::install_callbacks(SSL_CTX* context) {
  SSL_CTX_set_cert_verify_callback(context, on_verify, nullptr);
  SSL_CTX_set_cert_cb(context, on_certificate_request, nullptr);
}

ClientHandshake& ClientHandshake::of(const SSL* ssl) {
  return *static_cast<ClientHandshake*>(HandshakeEngine::of(ssl).owner());
}

int ClientHandshake::on_verify(X509_STORE_CTX* store, void*) {
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  ClientHandshake& handshake = of(ssl);
  try {
    return handshake.judge_server(store) ? 1 : 0;
  } catch (const std::exception& exception) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    handshake.engine_.refuse({.result = HandshakeResult::kUnknownFailure});
    return 0;
  }
}

bool ClientHandshake::judge_server(X509_STORE_CTX* store) {
  auto verified = verify_chain(store, context_->credentials(), context_->chains_, context_->now(),
                               Role::kServer);
  if (!verified) {
    engine_.refuse(std::move(verified.error()));
    return false;
  }
  if (auto why = refuse_(**verified)) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);  // bad_certificate
    engine_.refuse(wrong_identity(**verified, *std::move(why), *context_));
    return false;
  }
  trust_ = *std::move(verified);
  return true;
}

// OpenSSL is about to refuse a protocol that was not offered, and would not name it.
void ClientHandshake::on_extensions(void* handshake, std::span<const std::byte> message) {
  auto& self = *static_cast<ClientHandshake*>(handshake);
  if (self.protocols_.empty()) return;
  try {
    const std::string_view chosen = chosen_protocol(message);
    if (!chosen.empty() && !self.offered(chosen)) self.engine_.refuse(self.not_offered(chosen));
  } catch (const std::exception& exception) {
    self.engine_.refuse({.result = HandshakeResult::kUnknownFailure});
  }
}

// OpenSSL chooses a certificate behind this. 0 ends the handshake.
int ClientHandshake::on_certificate_request(SSL* ssl, void*) {
  ClientHandshake& handshake = of(ssl);
  handshake.outcome_.certificate_requested = true;
  try {
    if (handshake.choose_curve()) return 1;
    (void)OpensslError::drain();
    handshake.engine_.refuse(
        {.result = HandshakeResult::kUnknownFailure, .detail = "no memory for our certificate"});
  } catch (const std::exception& exception) {
    handshake.engine_.refuse({.result = HandshakeResult::kUnknownFailure});
  }
  return 0;
}

// TLS 1.2 ties no hash to a curve, and a server does not say which curves it supports.
bool ClientHandshake::choose_curve() const {
  if (!context_->curves_.several() || SSL_version(ssl()) != TLS1_3_VERSION) return true;
  return context_->curves_.choose(ssl(), {.signature_algorithms = signature_algorithms(ssl()),
                                          .supported_groups = {},
                                          .version = RecordVersion::kTls13});
}

}  // namespace sallyport::ktls
