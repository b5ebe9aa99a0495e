// As handshake_fuzz, for the client's side: a handshake with OpenSSL's server, whose flights are
// changed on the way. Input: bit 0 of the first byte: TLS 1.2, bit 1: after a HelloRetryRequest,
// bit 2: it asks for our certificate; how the bytes are cut into pieces; then the changes. Whatever
// happens, a handshake whose messages were changed does not succeed, one that was left alone does,
// no server is taken for another one, and a failure has a word and no endless answer.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/server_context.h"
#include "tests/fuzz/changed_flights.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

using namespace sallyport;
using ktls::ClientHandshake;

namespace {

constexpr std::size_t kMostSaid = 64 << 10;

struct World {
  World() {
    const auto own = authority.issue({.cn = "gateway", .dns = {"gateway.test"}});
    files.ca.push_back({std::nullopt, dir.write("ca.pem", authority.cert_pem())});
    files.pairs.push_back(
        {dir.write("own.pem", own.chain_pem), dir.write_secret("own.key", own.key_pem)});
    settings.groups = "X25519:P-256";
    const auto credentials = ktls::load_usable_credentials(files, settings);
    if (!credentials) std::abort();
    client = ktls::ClientContext::create(*credentials, ktls::ClientContext::Presents::kCertificates)
                 .value();

    server.reset(SSL_CTX_new(TLS_server_method()));
    const auto certificate = authority.issue({.dns = {"orders.test"}});
    if (SSL_CTX_use_certificate(server.get(), certificate.x509.get()) != 1 ||
        SSL_CTX_use_PrivateKey(server.get(), certificate.key.get()) != 1)
      std::abort();
    SSL_CTX_set_num_tickets(server.get(), 0);
    SSL_CTX_set_cert_verify_callback(
        server.get(), [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
  }

  test::TempDir dir;
  test::TestAuthority authority;
  ktls::CredentialFiles files;
  ktls::HandshakeSettings settings;
  std::shared_ptr<ktls::ClientContext> client;
  ktls::SslCtxPtr server;
};

std::optional<std::string> only_orders(const ktls::PeerTrust& trust) {
  if (trust.identity.dns == std::vector<std::string>{"orders.test"}) return std::nullopt;
  return "another server";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  if (size < 2) return 0;
  const bool retries = (data[0] & 2) != 0;
  const bool asks = (data[0] & 4) != 0;
  const std::size_t piece = data[1] == 0 ? SIZE_MAX : std::size_t{data[1]} * 8;
  fuzz::ChangedFlights flights(std::span(data, size).subspan(2));

  fuzz::OpensslSide server(world.server.get(), (data[0] & 1) != 0);
  SSL_set_accept_state(server.ssl.get());
  if (retries) SSL_set1_groups_list(server.ssl.get(), "P-256");
  if (asks) SSL_set_verify(server.ssl.get(), SSL_VERIFY_PEER, nullptr);
  ClientHandshake client(world.client, {.server_name = "orders.test",
                                        .min_version = ktls::RecordVersion::kTls12,
                                        .refuse = only_orders});
  auto step = client.advance();
  std::size_t said = 0;
  for (int count = 0; count < 6 && step == ClientHandshake::Step::kWantRead; ++count) {
    said += client.output().size();
    if (said > kMostSaid) std::abort();
    server.give(client.output());
    client.output_sent();
    const std::vector<std::byte> flight = flights.change(server.flight());
    for (std::span<const std::byte> rest = flight;
         !rest.empty() && step == ClientHandshake::Step::kWantRead;) {
      client.feed(rest.first(std::min(piece, rest.size())));
      rest = rest.subspan(std::min(piece, rest.size()));
      step = client.advance();
    }
  }
  if (step != ClientHandshake::Step::kDone && !flights.changed()) std::abort();
  if (step == ClientHandshake::Step::kFailed) {
    if (to_string(client.failure().result).empty()) std::abort();
    if (client.failure().result == ktls::HandshakeResult::kSuccess) std::abort();
  }
  if (step == ClientHandshake::Step::kDone) {
    if (flights.message_changed()) std::abort();
    client.intern_trust();
    const auto unsent = client.take_output();
    const ktls::Outcome outcome = client.finish();
    if (only_orders(*outcome.trust)) std::abort();
    if (outcome.certificate_requested != asks) std::abort();
  }
  ERR_clear_error();
  return 0;
}
