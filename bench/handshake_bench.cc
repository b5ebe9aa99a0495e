// The server's side of a mutual handshake, in memory: what TLS costs when the network costs
// nothing. Client chain of leaf and intermediate, as in bench/compare. Time is CPU time of the
// server's calls.
#include <benchmark/benchmark.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "iouring/clock.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/server_context.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/handshake/tls_library.h"
#include "ktls/trust/credentials.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport {
namespace {

using ktls::ServerHandshake;
using test::KeyType;
using test::LeafSpec;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "handshake_bench: %s: %s\n", what.c_str(),
               ktls::OpensslError::drain().text.c_str());
  std::abort();
}

double thread_seconds() {
  return static_cast<double>(iouring::clock_ns(CLOCK_THREAD_CPUTIME_ID)) / 1e9;
}

/// The gateway's credentials with a server key of one type, and a client with a key of one type.
class Parties {
 public:
  Parties(KeyType server_key, KeyType client_key, unsigned tickets) {
    ktls::skip_legacy_cipher_names();  // as the gateway does
    const test::TestAuthority root("Bench Root");
    const auto server =
        root.intermediate("Bench Servers").issue(LeafSpec{.cn = "server", .key_type = server_key});
    const auto client = root.intermediate("Bench Clients")
                            .issue(LeafSpec{.cn = "client",
                                            .spiffe = {"spiffe://bench.example/client"},
                                            .key_type = client_key});
    const ktls::CredentialFiles files{
        .pairs = {{.cert = folder_.write("server.pem", server.chain_pem).string(),
                   .key = folder_.write_secret("server.key", server.key_pem).string()}},
        .ca = {{.domain = std::nullopt,
                .file = folder_.write("root.pem", root.cert_pem()).string()}},
        .crls = {},
        .ticket_keys = std::nullopt};
    ktls::HandshakeSettings settings;
    settings.tickets = tickets;
    const auto credentials = ktls::Credentials::load(files, settings);
    if (!credentials) die(credentials.error().message());
    auto context = ktls::ServerContext::create(*credentials, "bench");
    if (!context) die(context.error().message());
    server_ = *context;

    client_.reset(SSL_CTX_new(TLS_client_method()));
    const std::string chain = folder_.write("client.pem", client.chain_pem).string();
    if (!client_ || SSL_CTX_use_certificate_chain_file(client_.get(), chain.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey(client_.get(), client.key.get()) != 1) {
      die("client");
    }
    SSL_CTX_set_min_proto_version(client_.get(), TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(client_.get(), "TLS_AES_256_GCM_SHA384");
    SSL_CTX_set1_groups_list(client_.get(), "X25519");
    SSL_CTX_set_session_cache_mode(client_.get(),
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(client_.get(), reinterpret_cast<char*>(this));
    SSL_CTX_sess_set_new_cb(client_.get(), [](SSL* ssl, SSL_SESSION* session) {
      auto* const parties = reinterpret_cast<Parties*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      parties->session_.reset(session);
      return 1;
    });
  }

  /// One handshake; returns the CPU time of the server's part.
  double handshake_with(bool resume) {
    const ktls::SslPtr client(SSL_new(client_.get()));
    BIO* const to_client = BIO_new(BIO_s_mem());
    BIO* const to_server = BIO_new(BIO_s_mem());
    SSL_set_bio(client.get(), to_client, to_server);
    SSL_set_connect_state(client.get());
    if (resume) SSL_set_session(client.get(), session_.get());

    double spent = -thread_seconds();
    auto server = std::make_unique<ServerHandshake>(server_);
    spent += thread_seconds();
    for (bool done = false; !done;) {
      SSL_do_handshake(client.get());
      char* bytes = nullptr;
      const auto size = static_cast<std::size_t>(BIO_get_mem_data(to_server, &bytes));
      spent -= thread_seconds();
      server->feed(std::as_bytes(std::span(bytes, size)));
      ServerHandshake::Step step = server->advance();
      if (step == ServerHandshake::Step::kHello) {
        server->accept({});
        step = server->advance();
      }
      if (step == ServerHandshake::Step::kDone) {
        server->issue_tickets();
        done = true;
      }
      spent += thread_seconds();
      if (step == ServerHandshake::Step::kFailed) die("handshake: " + server->failure().detail);
      BIO_reset(to_server);
      const auto output = server->output();
      BIO_write(to_client, output.data(), static_cast<int>(output.size()));
      server->output_sent();
    }
    if (server->outcome().resumed != resume) die("resumed, or not, against the plan");
    spent -= thread_seconds();
    ktls::Outcome outcome = server->finish();  // Google Benchmark keeps no constant alive
    benchmark::DoNotOptimize(outcome.state);
    server.reset();
    spent += thread_seconds();
    char byte;
    SSL_read(client.get(), &byte, 1);                   // takes the tickets
    SSL_set_shutdown(client.get(), SSL_SENT_SHUTDOWN);  // or the session would count as broken
    return spent;
  }

 private:
  test::TempDir folder_;
  std::shared_ptr<ktls::ServerContext> server_;
  ktls::SslCtxPtr client_;
  ktls::SslSessionPtr session_;
};

void run(benchmark::State& state, Parties& parties, bool resume) {
  if (resume) parties.handshake_with(false);
  for ([[maybe_unused]] auto _ : state) state.SetIterationTime(parties.handshake_with(resume));
}

void full_handshake(benchmark::State& state, KeyType server, KeyType client, unsigned tickets) {
  Parties parties(server, client, tickets);
  run(state, parties, false);
}

void resumed_handshake(benchmark::State& state, KeyType server, KeyType client) {
  Parties parties(server, client, 1);
  run(state, parties, true);
}

#define HANDSHAKE(function, name, ...) \
  BENCHMARK_CAPTURE(function, name, __VA_ARGS__)->UseManualTime()->Unit(benchmark::kMicrosecond)

HANDSHAKE(full_handshake, p256, KeyType::kEcdsaP256, KeyType::kEcdsaP256, 1);
HANDSHAKE(full_handshake, p256_two_tickets, KeyType::kEcdsaP256, KeyType::kEcdsaP256, 2);
HANDSHAKE(full_handshake, p256_no_ticket, KeyType::kEcdsaP256, KeyType::kEcdsaP256, 0);
HANDSHAKE(full_handshake, p384, KeyType::kEcdsaP384, KeyType::kEcdsaP384, 1);
HANDSHAKE(full_handshake, rsa2048, KeyType::kRsa2048, KeyType::kRsa2048, 1);
HANDSHAKE(full_handshake, ed25519, KeyType::kEd25519, KeyType::kEd25519, 1);
HANDSHAKE(resumed_handshake, p256, KeyType::kEcdsaP256, KeyType::kEcdsaP256);
HANDSHAKE(resumed_handshake, rsa2048, KeyType::kRsa2048, KeyType::kRsa2048);

}  // namespace
}  // namespace sallyport

BENCHMARK_MAIN();
