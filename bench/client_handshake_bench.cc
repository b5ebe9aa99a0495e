// The client's side of a mutual handshake of TLS 1.3, in memory, with a server of OpenSSL's, which
// gives two tickets behind a full handshake and one behind a resumed one: what TLS to a backend
// costs when the network costs nothing. Time is CPU time of the client's calls.
#include <benchmark/benchmark.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "iouring/clock.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/client_context.h"
#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/tls_library.h"
#include "ktls/records/cipher_contexts.h"
#include "ktls/records/record.h"
#include "ktls/records/record_protection.h"
#include "ktls/trust/credentials.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport {
namespace {

using ktls::ClientHandshake;
using test::LeafSpec;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "handshake_bench: %s: %s\n", what.c_str(),
               ktls::OpensslError::drain().text.c_str());
  std::abort();
}

/// CPU time of this thread between start() and stop(), summed.
class Stopwatch {
 public:
  void start() { seconds_ -= now(); }
  void stop() { seconds_ += now(); }
  double seconds() const { return seconds_; }

 private:
  static double now() {
    return static_cast<double>(iouring::clock_ns(CLOCK_THREAD_CPUTIME_ID)) / 1e9;
  }
  double seconds_ = 0;
};

/// What a memory BIO holds, which is then empty.
std::vector<std::byte> taken_from(BIO* bio) {
  std::vector<std::byte> bytes(BIO_ctrl_pending(bio));
  if (!bytes.empty()) BIO_read(bio, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

/// A backend, and the gateway's credentials with which it is called.
class Call {
 public:
  Call() {
    ktls::skip_legacy_cipher_names();  // as the gateway does
    const test::TestAuthority root("Bench Root");
    const auto backend =
        root.intermediate("Bench Servers")
            .issue(LeafSpec{.cn = "backend", .spiffe = {"spiffe://bench.example/backend"}});
    const auto own = root.intermediate("Bench Clients").issue(LeafSpec{.cn = "gateway"});
    make_server(backend);
    const ktls::CredentialFiles files{
        .pairs = {{.cert = folder_.write("own.pem", own.chain_pem).string(),
                   .key = folder_.write_secret("own.key", own.key_pem).string()}},
        .ca = {{.domain = std::nullopt,
                .file = folder_.write("root.pem", root.cert_pem()).string()}},
        .crls = {},
        .ticket_keys = std::nullopt};
    const auto credentials = ktls::Credentials::load(files, ktls::HandshakeSettings{});
    if (!credentials) give_up(credentials.error().message());
    auto context =
        ktls::ClientContext::create(*credentials, ktls::ClientContext::Presents::kCertificates);
    if (!context) give_up(context.error().message());
    context_ = *context;
  }

  /// One handshake, and so many of the server's tickets; returns the CPU time of the client's part.
  double handshake_with(bool resume, unsigned tickets) {
    const ktls::SslPtr server(SSL_new(server_.get()));
    BIO* const to_server = BIO_new(BIO_s_mem());
    BIO* const to_client = BIO_new(BIO_s_mem());
    SSL_set_bio(server.get(), to_server, to_client);
    SSL_set_accept_state(server.get());

    Stopwatch watch;
    watch.start();
    auto client = std::make_unique<ClientHandshake>(
        context_,
        ktls::ClientTerms{.server_name = "backend.bench.example",
                          .refuse = [](const ktls::PeerTrust&) { return std::nullopt; },
                          .session = resume ? std::exchange(session_, nullptr) : nullptr});
    while (client->advance() == ClientHandshake::Step::kWantRead) {
      watch.stop();
      give(to_server, client->output());
      client->output_sent();
      SSL_do_handshake(server.get());
      const std::vector<std::byte> flight = taken_from(to_client);
      if (flight.empty()) give_up("the server says nothing");
      watch.start();
      client->feed(flight);
    }
    const bool resumed = client->outcome().resumed;
    auto taker = client->collect_sessions([this](ktls::ClientSession session) {
      session_ = std::make_shared<const ktls::ClientSession>(std::move(session));
    });
    const std::vector<std::byte> last = client->take_output();
    ktls::Outcome outcome = client->finish();
    client.reset();
    watch.stop();
    if (resumed != resume) give_up("resumed, or not, against the plan");

    give(to_server, last);
    if (SSL_do_handshake(server.get()) != 1) give_up("the server is not satisfied");
    const auto bodies = ticket_bodies(taken_from(to_client), outcome);
    watch.start();
    for (unsigned i = 0; i < tickets; ++i) taker->take(bodies.at(i));
    taker.reset();
    watch.stop();
    if (tickets > 0 && !session_) give_up("no session");
    return watch.seconds();
  }

 private:
  void make_server(const test::TestCertificate& backend) {
    server_.reset(SSL_CTX_new(TLS_server_method()));
    const std::string chain = folder_.write("backend.pem", backend.chain_pem).string();
    if (!server_ || SSL_CTX_use_certificate_chain_file(server_.get(), chain.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey(server_.get(), backend.key.get()) != 1)
      give_up("server");
    SSL_CTX_set_min_proto_version(server_.get(), TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(server_.get(), "TLS_AES_256_GCM_SHA384");
    SSL_CTX_set1_groups_list(server_.get(), "X25519");
    SSL_CTX_set_session_cache_mode(server_.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(server_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_cert_verify_callback(
        server_.get(), [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
    constexpr unsigned char kSessionContext[] = {'b'};
    SSL_CTX_set_session_id_context(server_.get(), kSessionContext, sizeof kSessionContext);
  }

  static void give(BIO* bio, std::span<const std::byte> bytes) {
    BIO_write(bio, bytes.data(), static_cast<int>(bytes.size()));
  }

  static std::vector<std::vector<std::byte>> ticket_bodies(std::vector<std::byte> records,
                                                           const ktls::Outcome& outcome) {
    ktls::CipherContexts contexts(1);
    ktls::RecordOpener opener(contexts, outcome.state.suite, outcome.state.rx);
    std::vector<std::vector<std::byte>> bodies;
    for (std::span<std::byte> rest(records); !rest.empty();) {
      const auto header = ktls::RecordHeader::parse(rest.first<ktls::kRecordHeaderSize>());
      const std::size_t size = ktls::kRecordHeaderSize + header.length;
      const auto opened = opener.open(rest.first(size));
      if (!opened) give_up("a ticket cannot be opened");
      const auto body = opened->content.subspan(ktls::kHandshakeHeaderSize);
      bodies.emplace_back(body.begin(), body.end());
      rest = rest.subspan(size);
    }
    return bodies;
  }

  test::TempDir folder_;
  ktls::SslCtxPtr server_;
  std::shared_ptr<ktls::ClientContext> context_;
  std::shared_ptr<const ktls::ClientSession> session_;
};

void full_client_handshake(benchmark::State& state, unsigned tickets) {
  Call call;
  for ([[maybe_unused]] auto _ : state) state.SetIterationTime(call.handshake_with(false, tickets));
}

void resumed_client_handshake(benchmark::State& state) {
  Call call;
  call.handshake_with(false, 1);
  for ([[maybe_unused]] auto _ : state) state.SetIterationTime(call.handshake_with(true, 1));
}

BENCHMARK_CAPTURE(full_client_handshake, no_ticket, 0)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(full_client_handshake, two_tickets, 2)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(resumed_client_handshake)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sallyport
