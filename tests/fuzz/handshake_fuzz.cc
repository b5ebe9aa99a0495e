// A whole handshake with OpenSSL's client, whose flights are changed on the way. Input: how the
// bytes are cut into pieces, then changes: where (two bytes), what to xor. Whatever happens, a
// handshake whose messages were changed does not succeed, one that was left alone does, and a
// failure has a word and no endless answer.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "ktls/handshake/server_handshake.h"
#include "tests/fuzz/changed_flights.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

using namespace sallyport;
using ktls::ServerHandshake;

namespace {

constexpr std::size_t kMostAnswer = 64 << 10;

struct World {
  World() {
    const auto own = authority.issue({.cn = "gateway", .dns = {"gateway.test"}});
    files.ca.push_back({std::nullopt, dir.write("ca.pem", authority.cert_pem())});
    files.pairs.push_back(
        {dir.write("own.pem", own.chain_pem), dir.write_secret("own.key", own.key_pem)});
    settings.min_version = ktls::RecordVersion::kTls12;
    const auto credentials = ktls::load_usable_credentials(files, settings);
    if (!credentials) std::abort();
    server = ktls::ServerContext::create(*credentials, "fuzz").value();

    client.reset(SSL_CTX_new(TLS_client_method()));
    const auto certificate = authority.issue({.spiffe = {"spiffe://example.org/client"}});
    if (SSL_CTX_use_certificate(client.get(), certificate.x509.get()) != 1 ||
        SSL_CTX_use_PrivateKey(client.get(), certificate.key.get()) != 1)
      std::abort();
  }

  test::TempDir dir;
  test::TestAuthority authority;
  ktls::CredentialFiles files;
  ktls::HandshakeSettings settings;
  std::shared_ptr<ktls::ServerContext> server;
  ktls::SslCtxPtr client;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  if (size < 2) return 0;
  const bool tls12 = (data[0] & 1) != 0;
  const std::size_t piece = data[1] == 0 ? SIZE_MAX : std::size_t{data[1]} * 8;
  fuzz::ChangedFlights flights(std::span(data, size).subspan(2));

  fuzz::OpensslSide client(world.client.get(), tls12);
  SSL_set_connect_state(client.ssl.get());
  SSL_set_tlsext_host_name(client.ssl.get(), "gateway.test");
  ServerHandshake server(world.server);
  auto step = ServerHandshake::Step::kWantRead;
  std::size_t answered = 0;
  for (int count = 0; count < 6 && step == ServerHandshake::Step::kWantRead; ++count) {
    const std::vector<std::byte> flight = flights.change(client.flight());
    for (std::span<const std::byte> rest = flight;
         !rest.empty() && step == ServerHandshake::Step::kWantRead;) {
      server.feed(rest.first(std::min(piece, rest.size())));
      rest = rest.subspan(std::min(piece, rest.size()));
      step = server.advance();
      if (step == ServerHandshake::Step::kHello) {
        server.accept({});
        step = server.advance();
      }
    }
    answered += server.output().size();
    if (answered > kMostAnswer) std::abort();
    client.give(server.output());
    server.output_sent();
  }
  if (step != ServerHandshake::Step::kDone && !flights.changed()) std::abort();
  if (step == ServerHandshake::Step::kFailed) {
    if (to_string(server.failure().result).empty()) std::abort();
    if (server.failure().result == ktls::HandshakeResult::kSuccess) std::abort();
  }
  if (step == ServerHandshake::Step::kDone) {
    if (flights.message_changed()) std::abort();
    server.intern_trust();
    server.issue_tickets();
    const auto unsent = server.take_output();
    const ktls::Outcome outcome = server.finish();
    if (outcome.trust->identity.spiffe != "spiffe://example.org/client") std::abort();
  }
  ERR_clear_error();
  return 0;
}
