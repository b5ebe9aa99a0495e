// Bodies of NewSessionTicket, each behind its length in two bytes, given to a TicketTaker as a
// hostile server would send them. Whatever they are: at most two sessions come of them, none of
// which has a ticket beyond the bound or outlives its server's certificate, and OpenSSL's error
// queue is left empty.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ktls/base/wire.h"
#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/server_context.h"
#include "ktls/handshake/session_store.h"
#include "ktls/handshake/ticket_taker.h"
#include "tests/fuzz/changed_flights.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

using namespace sallyport;
using ktls::ClientHandshake;

namespace {

struct World {
  World() {
    const auto own = authority.issue({.dns = {"orders.test"}});
    ktls::CredentialFiles files;
    files.ca.push_back({std::nullopt, dir.write("ca.pem", authority.cert_pem())});
    files.pairs.push_back(
        {dir.write("own.pem", own.chain_pem), dir.write_secret("own.key", own.key_pem)});
    const auto credentials = ktls::load_usable_credentials(files, {});
    if (!credentials) std::abort();
    client =
        ktls::ClientContext::create(*credentials, ktls::ClientContext::Presents::kNothing).value();
    server.reset(SSL_CTX_new(TLS_server_method()));
    if (SSL_CTX_use_certificate(server.get(), own.x509.get()) != 1 ||
        SSL_CTX_use_PrivateKey(server.get(), own.key.get()) != 1)
      std::abort();
  }

  test::TempDir dir;
  test::TestAuthority authority;
  std::shared_ptr<ktls::ClientContext> client;
  ktls::SslCtxPtr server;
};

std::unique_ptr<ktls::TicketSink> connect(const World& world,
                                          const std::shared_ptr<ktls::SessionStore>& store) {
  fuzz::OpensslSide server(world.server.get(), false);
  SSL_set_accept_state(server.ssl.get());
  ClientHandshake client(world.client,
                         {.refuse = [](const ktls::PeerTrust&) { return std::nullopt; }});
  (void)client.advance();
  server.give(client.output());
  client.output_sent();
  client.feed(server.flight());
  if (client.advance() != ClientHandshake::Step::kDone) std::abort();
  client.intern_trust();
  return client.collect_sessions(
      [store](ktls::ClientSession session) { store->remember({}, std::move(session)); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  const auto store = std::make_shared<ktls::SessionStore>();
  auto sink = connect(world, store);
  ktls::WireReader in(std::as_bytes(std::span(data, size)));
  while (sink && !in.at_end()) {
    const auto body = in.take(in.u16());
    if (!in.good()) break;
    if (!sink->take(body)) sink.reset();
    if (ERR_peek_error() != 0) std::abort();
  }
  unsigned count = 0;
  while (const auto session = store->take({}, world.client->now())) {
    const unsigned char* ticket = nullptr;
    std::size_t ticket_size = 0;
    SSL_SESSION_get0_ticket(session->session.get(), &ticket, &ticket_size);
    if (ticket_size > ktls::TicketTaker::kMaxTicket) std::abort();
    if (session->expires_at > session->trust->not_after) std::abort();
    if (++count > ktls::TicketTaker::kMaxTickets) std::abort();
  }
  return 0;
}
