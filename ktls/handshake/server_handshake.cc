#include "ktls/handshake/server_handshake.h"

#include <openssl/tls1.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "ktls/records/record.h"
#include "ktls/records/record_protection.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

struct Group {
  long id;  ///< as SSL_get_negotiated_group() has it
  std::string_view name;
};

// The names of groups. One without a NID has its code point with TLSEXT_nid_unknown set
// (draft-ietf-tls-ecdhe-mlkem).
constexpr Group kNamedGroups[] = {
    {NID_X25519, "X25519"},
    {NID_X448, "X448"},
    {NID_X9_62_prime256v1, "P-256"},
    {NID_secp384r1, "P-384"},
    {NID_secp521r1, "P-521"},
    {TLSEXT_nid_unknown | 0x11ec, "X25519MLKEM768"},
    {TLSEXT_nid_unknown | 0x11eb, "SecP256r1MLKEM768"},
};

std::string_view group_name(SSL* ssl) {
  const auto* const group =
      std::ranges::find(kNamedGroups, static_cast<long>(SSL_get_negotiated_group(ssl)), &Group::id);
  return group == std::end(kNamedGroups) ? "other" : group->name;
}

}  // namespace

ServerHandshake::ServerHandshake(std::shared_ptr<ServerContext> context)
    : context_(std::move(context)), engine_(context_->ctx_.get(), this) {
  engine_.set_server();
  engine_.on_ticket([](void* owner, std::span<const std::byte> message) {
    static_cast<ServerHandshake*>(owner)->take_ticket(message);
  });
}

ServerHandshake::~ServerHandshake() = default;

ServerHandshake::Step ServerHandshake::advance() {
  switch (engine_.advance()) {
    case HandshakeEngine::Step::kWantRead:
      return Step::kWantRead;
    case HandshakeEngine::Step::kSuspended:
      return Step::kHello;
    case HandshakeEngine::Step::kDone:
      return complete_ ? Step::kDone : complete();
    case HandshakeEngine::Step::kFailed:
      return Step::kFailed;
  }
  std::abort();
}

void ServerHandshake::accept(RouteTerms terms) {
  if (hello_state_ != HelloState::kRead) std::abort();
  hello_state_ = HelloState::kAccepted;
  confirmed_alpn_ = terms.alpn;
  terms_ = std::move(terms);
}

void ServerHandshake::reject(HandshakeFailure why) {
  if (hello_state_ != HelloState::kRead) std::abort();
  hello_state_ = HelloState::kRejected;
  engine_.refuse(std::move(why));
}

ServerHandshake::Step ServerHandshake::complete() {
  const auto broken = [this](const char* what) {
    engine_.fail({.result = HandshakeResult::kUnknownFailure, .detail = what}, std::nullopt);
    return Step::kFailed;
  };
  if (!ticket_psks_.empty()) engine_.drop_tickets();
  outcome_.resumed = SSL_session_reused(ssl()) == 1;
  if (outcome_.resumed) {
    auto content = ticket_content(SSL_get_session(ssl()));
    if (!content) return broken("resumed session without its trust");
    outcome_.trust.reset(new PeerTrust(std::move(content->trust)));
    outcome_.authenticated_at = content->authenticated_at;
  } else {
    if (!trust_ || SSL_get_verify_result(ssl()) != X509_V_OK)
      return broken("handshake finished without a verified certificate");
    outcome_.trust = trust_;
    outcome_.authenticated_at = context_->now();
    if (wants_certificate_) certificate_ = to_der(SSL_get0_peer_certificate(ssl()));
  }

  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl());
  const auto suite =
      cipher == nullptr ? std::nullopt : suite_from_code_point(SSL_CIPHER_get_protocol_id(cipher));
  const int version = SSL_version(ssl());
  if (!suite || (version != TLS1_3_VERSION && version != TLS1_2_VERSION))
    return broken("unknown suite or version");
  if (version == TLS1_2_VERSION && SSL_get_extms_support(ssl()) != 1)
    return broken("TLS 1.2 without extended master secret");
  outcome_.state.suite = *suite;
  outcome_.state.version =
      version == TLS1_2_VERSION ? RecordVersion::kTls12 : RecordVersion::kTls13;
  if (!engine_.collect_secrets(outcome_.state.version, *suite))
    return broken("no application secrets");
  outcome_.version = name(outcome_.state.version);
  outcome_.cipher = SSL_CIPHER_get_name(cipher);
  outcome_.group = group_name(ssl());
  if (engine_.finished_is_followed()) return refuse_what_follows_finished();
  trust_.reset();
  complete_ = true;
  return Step::kDone;
}

// RFC 5246 7.4.9: application data is the next. OpenSSL would judge it at the next read.
ServerHandshake::Step ServerHandshake::refuse_what_follows_finished() {
  std::byte alert[] = {std::byte{static_cast<std::uint8_t>(AlertLevel::kFatal)},
                       std::byte{static_cast<std::uint8_t>(AlertDescription::kUnexpectedMessage)}};
  const SessionState& state = outcome_.state;
  CipherContexts contexts(1);
  RecordSealer sealer(contexts, state.suite, {engine_.secrets().server.secret(), next_tx_record()},
                      state.version);
  const iovec span{alert, sizeof alert};
  PlaintextCursor content{std::span(&span, 1)};
  std::vector<std::byte> record(
      sealed_size(sizeof alert, record_overhead(state.version, state.suite)));
  const auto sealed = sealer.seal(ContentType::kAlert, content, record);
  if (!sealed || !engine_.append_output(record, 1)) (void)OpensslError::drain();  // without alert
  engine_.fail({.result = HandshakeResult::kUnexpectedMessage,
                .detail = "bytes behind Finished in its record"},
               std::nullopt);
  return Step::kFailed;
}

// In TLS 1.2 keys change at ChangeCipherSpec, in both directions, and Finished is the first record
// under them (RFC 5246 6.1).
std::uint64_t ServerHandshake::next_tx_record() const {
  return engine_.sent_records() + (outcome_.state.version == RecordVersion::kTls12 ? 1 : 0);
}

void ServerHandshake::intern_trust() {
  if (!complete_) std::abort();
  outcome_.trust = context_->trusts_.intern(std::move(outcome_.trust));
}

std::shared_ptr<const PresentedCertificate> ServerHandshake::unproven() const {
  if (!trust_) return nullptr;
  auto claim = std::make_shared<PresentedCertificate>(presented(*trust_));
  claim->verified = false;
  return claim;
}

Outcome ServerHandshake::finish() {
  if (!complete_) std::abort();
  complete_ = false;
  SessionState& state = outcome_.state;
  state.rx = std::move(engine_.secrets().client);
  state.tx = std::move(engine_.secrets().server);
  state.rx.rec_seq = state.version == RecordVersion::kTls12 ? engine_.received_records() : 0;
  state.tx.rec_seq = next_tx_record();
  outcome_.leftover = engine_.take_leftover();
  return std::move(outcome_);
}

}  // namespace sallyport::ktls
