#include "ktls/handshake/server_handshake.h"

#include <cstdlib>
#include <utility>

#include "ktls/records/record.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {

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
  if (!ticket_psks_.empty()) engine_.drop_tickets();
  outcome_.resumed = SSL_session_reused(ssl()) == 1;
  if (outcome_.resumed) {
    if (auto content = ticket_content(SSL_get_session(ssl()))) {
      outcome_.trust.reset(new PeerTrust(std::move(content->trust)));
      outcome_.authenticated_at = content->authenticated_at;
    }
  } else {
    outcome_.trust = trust_;
    outcome_.authenticated_at = context_->now();
    if (wants_certificate_) certificate_ = to_der(SSL_get0_peer_certificate(ssl()));
  }

  if (!conclude(engine_, Role::kServer, outcome_)) return Step::kFailed;
  trust_.reset();
  complete_ = true;
  return Step::kDone;
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
  hand_over(engine_, Role::kServer, outcome_);
  return std::move(outcome_);
}

}  // namespace sallyport::ktls
