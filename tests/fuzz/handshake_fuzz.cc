// A whole handshake with OpenSSL's client, whose flights are changed on the way. Input: how the
// bytes are cut into pieces, then changes: where (two bytes), what to xor. Whatever happens, a
// handshake whose messages were changed does not succeed, and a failure has a word and no endless
// answer.
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
#include "ktls/records/record.h"
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

struct Client {
  explicit Client(SSL_CTX* context, bool tls12) : ssl(SSL_new(context)) {
    if (tls12) SSL_set_max_proto_version(ssl.get(), TLS1_2_VERSION);
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl.get(), in, out);
    SSL_set_connect_state(ssl.get());
    SSL_set_tlsext_host_name(ssl.get(), "gateway.test");
  }
  std::vector<std::byte> flight() {
    SSL_do_handshake(ssl.get());
    std::vector<std::byte> bytes(BIO_ctrl_pending(out));
    if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  ktls::SslPtr ssl;
  BIO* in;
  BIO* out;
};

/// The positions of a flight that are in no record header: there a version or an empty record may
/// change without consequence.
bool in_message(std::span<const std::byte> flight, std::size_t at) {
  std::size_t begin = 0;
  while (begin + ktls::kRecordHeaderSize <= flight.size()) {
    const auto header =
        ktls::RecordHeader::parse(flight.subspan(begin).first<ktls::kRecordHeaderSize>());
    const std::size_t end = begin + ktls::kRecordHeaderSize + header.length;
    if (at < begin + ktls::kRecordHeaderSize) return false;
    if (at < end) return header.type != ktls::ContentType::kChangeCipherSpec;
    begin = end;
  }
  return false;
}

struct Change {
  std::size_t at;
  std::byte by;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  if (size < 2) return 0;
  const bool tls12 = (data[0] & 1) != 0;
  const std::size_t piece = data[1] == 0 ? SIZE_MAX : std::size_t{data[1]} * 8;
  std::vector<Change> changes;
  for (std::size_t i = 2; i + 3 <= size; i += 3)
    changes.push_back(
        {std::size_t{data[i]} << 8 | data[i + 1], static_cast<std::byte>(data[i + 2])});

  Client client(world.client.get(), tls12);
  ServerHandshake server(world.server);
  auto step = ServerHandshake::Step::kWantRead;
  bool message_changed = false;
  std::size_t sent = 0;  // by the client, of all flights
  std::size_t answered = 0;
  for (int flights = 0; flights < 6 && step == ServerHandshake::Step::kWantRead; ++flights) {
    std::vector<std::byte> flight = client.flight();
    const std::vector<std::byte> original = flight;
    for (const Change& change : changes) {
      if (change.at < sent || change.at >= sent + flight.size()) continue;
      flight[change.at - sent] ^= change.by;
    }
    for (std::size_t i = 0; i < flight.size(); ++i)
      message_changed = message_changed || (flight[i] != original[i] && in_message(original, i));
    sent += flight.size();
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
    BIO_write(client.in, server.output().data(), static_cast<int>(server.output().size()));
    server.output_sent();
  }
  if (step == ServerHandshake::Step::kFailed) {
    if (to_string(server.failure().result).empty()) std::abort();
    if (server.failure().result == ktls::HandshakeResult::kSuccess) std::abort();
  }
  if (step == ServerHandshake::Step::kDone) {
    if (message_changed) std::abort();
    server.intern_trust();
    server.issue_tickets();
    const auto unsent = server.take_output();
    const ktls::Outcome outcome = server.finish();
    if (outcome.trust->identity.spiffe != "spiffe://example.org/client") std::abort();
  }
  ERR_clear_error();
  return 0;
}
