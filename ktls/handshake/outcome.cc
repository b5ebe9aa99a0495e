#include "ktls/handshake/outcome.h"

#include <openssl/ssl.h>
#include <openssl/tls1.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>

#include "ktls/records/record_protection.h"

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

std::string agreed_protocol(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

DirectionState& written(ApplicationSecrets& secrets, Role by) {
  return by == Role::kServer ? secrets.server : secrets.client;
}

Role peer_of(Role own) {
  return own == Role::kServer ? Role::kClient : Role::kServer;
}

}  // namespace

bool conclude(HandshakeEngine& engine, Role own, Outcome& outcome) {
  const auto broken = [&engine](const char* what) {
    engine.fail({.result = HandshakeResult::kUnknownFailure, .detail = what}, std::nullopt);
    return false;
  };
  SSL* const ssl = engine.ssl();
  const bool by_our_ticket = own == Role::kServer && outcome.resumed;  // verified when it was made
  if (!outcome.trust || (!by_our_ticket && SSL_get_verify_result(ssl) != X509_V_OK))
    return broken("finished without a peer that was verified");
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(ssl);
  const auto suite =
      cipher == nullptr ? std::nullopt : suite_from_code_point(SSL_CIPHER_get_protocol_id(cipher));
  const int version = SSL_version(ssl);
  if (!suite || (version != TLS1_3_VERSION && version != TLS1_2_VERSION))
    return broken("unknown suite or version");
  SessionState& state = outcome.state;
  state.suite = *suite;
  state.version = version == TLS1_2_VERSION ? RecordVersion::kTls12 : RecordVersion::kTls13;
  if (!engine.collect_secrets(state.version, *suite)) return broken("no application secrets");
  outcome.version = name(state.version);
  outcome.cipher = SSL_CIPHER_get_name(cipher);
  outcome.group = group_name(ssl);
  outcome.alpn = agreed_protocol(ssl);

  if (version == TLS1_2_VERSION && SSL_get_extms_support(ssl) != 1) {
    refuse_concluded(engine, own, state,
                     {.result = HandshakeResult::kKeyExchangeFailure,
                      .detail = "TLS 1.2 without extended_master_secret (RFC 7627)"},
                     AlertDescription::kHandshakeFailure);
    return false;
  }
  // RFC 5246 7.4.9: application data is the next. OpenSSL would judge it at the next read.
  if (engine.finished_is_followed()) {
    refuse_concluded(engine, own, state,
                     {.result = HandshakeResult::kUnexpectedMessage,
                      .detail = "bytes behind Finished in its record"},
                     AlertDescription::kUnexpectedMessage);
    return false;
  }
  return true;
}

void refuse_concluded(HandshakeEngine& engine, Role own, const SessionState& state,
                      HandshakeFailure failure, AlertDescription alert) {
  std::byte content[] = {std::byte{static_cast<std::uint8_t>(AlertLevel::kFatal)},
                         std::byte{static_cast<std::uint8_t>(alert)}};
  CipherContexts contexts(1);
  const TrafficSecret& secret = written(engine.secrets(), own).secret();
  RecordSealer sealer(contexts, state.suite, {secret, engine.next_tx_record(state.version)},
                      state.version);
  const iovec span{content, sizeof content};
  PlaintextCursor cursor{std::span(&span, 1)};
  std::vector<std::byte> record(
      sealed_size(sizeof content, record_overhead(state.version, state.suite)));
  const auto sealed = sealer.seal(ContentType::kAlert, cursor, record);
  if (!sealed || !engine.append_output(record, 1)) (void)OpensslError::drain();  // without alert
  engine.fail(std::move(failure), std::nullopt);
}

void hand_over(HandshakeEngine& engine, Role own, Outcome& outcome) {
  SessionState& state = outcome.state;
  state.tx = std::move(written(engine.secrets(), own));
  state.rx = std::move(written(engine.secrets(), peer_of(own)));
  state.tx.rec_seq = engine.next_tx_record(state.version);
  state.rx.rec_seq = engine.next_rx_record(state.version);
  outcome.leftover = engine.take_leftover();
}

}  // namespace sallyport::ktls
