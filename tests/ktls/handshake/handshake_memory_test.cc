// The bound on a waiting handshake's memory, compared with what OpenSSL has taken. A program of its
// own: OpenSSL's memory functions can be replaced only before OpenSSL's first use of them.
#include <gtest/gtest.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/records/record.h"
#include "ktls/trust/certificate_message.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using Step = ServerHandshake::Step;

// Bytes that OpenSSL holds. Tests have one thread.
std::size_t held = 0;

void* counted_realloc(void* old, std::size_t size, const char*, int) {
  held -= malloc_usable_size(old);
  void* const taken = std::realloc(old, size);
  held += malloc_usable_size(taken);
  return taken;
}
void* counted_malloc(std::size_t size, const char* file, int line) {
  return counted_realloc(nullptr, size, file, line);
}
void counted_free(void* old, const char*, int) {
  held -= malloc_usable_size(old);
  std::free(old);
}
const bool kCounting = CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) == 1;

class HandshakeMemory : public ::testing::Test {
 protected:
  HandshakeMemory() { EXPECT_TRUE(kCounting); }

  // What the last handshake left in caches is not the next one's.
  void begin(const ClientSetup& setup) {
    for (int i = 0; i < 2; ++i) {
      RoutedHandshake first(context, any_route());
      MemoryClient peer(setup);
      EXPECT_EQ(shuttle(first, peer), Step::kDone);
    }
    client = std::make_unique<MemoryClient>(setup);
    EXPECT_FALSE(client->handshake());
    const std::string hello = client->take();
    const std::size_t before = held;
    server = std::make_unique<RoutedHandshake>(context, any_route());
    server->feed(bytes_of(hello));
    EXPECT_EQ(server->advance(), Step::kWantRead);
    others = before;
  }
  std::size_t taken() const { return held - others; }
  void expect_bounded() const {
    EXPECT_LE(taken(), server->memory());
    EXPECT_GE(2 * taken(), server->memory()) << "a bound that is too large sheds too early";
  }

  TestServer pki;
  std::shared_ptr<ServerContext> context = pki.context();
  test::TestCertificate certificate = pki.client();
  std::unique_ptr<MemoryClient> client;
  std::unique_ptr<RoutedHandshake> server;
  std::size_t others = 0;
};

TEST_F(HandshakeMemory, IsBoundedBehindAServerHello) {
  begin({.certificate = &certificate});
  expect_bounded();
  server->output_sent();
  expect_bounded();
}

TEST_F(HandshakeMemory, IsBoundedBehindAHelloRetryRequest) {
  begin({.certificate = &certificate, .groups = "P-384:P-256"});
  expect_bounded();
}

TEST_F(HandshakeMemory, IsBoundedInTls12) {
  pki.settings.min_version = RecordVersion::kTls12;
  context = pki.context();
  begin(
      {.certificate = &certificate, .min_version = TLS1_2_VERSION, .max_version = TLS1_2_VERSION});
  expect_bounded();
}

// A certificate that is nearly all names of two letters, of which OpenSSL makes objects: of all
// that a message of its size can hold they take most.
std::shared_ptr<X509> wide_certificate(const test::TestCertificate& from, std::size_t size) {
  std::shared_ptr<X509> wide(X509_dup(from.x509.get()), X509_free);
  X509_NAME* const name = X509_NAME_new();
  for (std::size_t at = 0; at + 600 < size; at += 12)
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("a"), 1, -1, 0);
  EXPECT_EQ(X509_set_subject_name(wide.get(), name), 1);
  X509_NAME_free(name);
  EXPECT_GT(X509_sign(wide.get(), from.key.get(), EVP_sha256()), 0);
  return wide;
}

// OpenSSL takes memory once the size is announced, and more once it has decoded the certificates.
// What it was given is not kept, even if the beginning of another record always is there.
TEST_F(HandshakeMemory, IsBoundedInTheMiddleOfTheLargestCertificates) {
  const std::shared_ptr<X509> wide = wide_certificate(certificate, kMaxCertificateMessage - 1024);
  begin({.certificate = &certificate});
  ASSERT_EQ(SSL_add1_chain_cert(client->ssl(), wide.get()), 1);
  deliver(*server, *client);
  const std::size_t before = held;
  (void)client->handshake();
  const std::string flight = client->take();
  ASSERT_GT(flight.size(), kMaxCertificateMessage - 2048);
  others += held - before;

  constexpr std::size_t kPiece = 4096;
  constexpr std::size_t kFinished = 100;  // at most: without it the handshake waits
  const std::size_t waiting = server->memory();
  std::size_t most = 0;
  for (std::size_t at = 0; at < flight.size() - kFinished; at += kPiece) {
    const std::size_t size = std::min(kPiece, flight.size() - kFinished - at);
    server->feed(bytes_of(flight).subspan(at, size));
    ASSERT_EQ(server->advance(), Step::kWantRead);
    EXPECT_LE(taken(), server->memory()) << at;
    most = std::max(most, taken());
  }
  EXPECT_GT(most, waiting + (std::size_t{256} << 10)) << "certificates were decoded";
  EXPECT_LE(server->memory(), 3 * most);
}

// ---- our client's side

class ClientMemory : public ::testing::Test {
 protected:
  ClientMemory() { EXPECT_TRUE(kCounting); }

  void begin(const ServerSetup& setup) {
    for (int i = 0; i < 2; ++i) {
      ClientHandshake first(context, terms());
      MemoryServer peer(setup);
      EXPECT_EQ(shuttle(first, peer), ClientHandshake::Step::kDone) << first.failure().detail;
    }
    server = std::make_unique<MemoryServer>(setup);
    others = held;
    client = std::make_unique<ClientHandshake>(context, terms());
    EXPECT_EQ(client->advance(), ClientHandshake::Step::kWantRead);
  }
  // The server's first flight; what it takes is not the client's.
  std::string flight() {
    const std::size_t before = held;
    server->give(client->output());
    EXPECT_FALSE(server->handshake());
    std::string bytes = server->take();
    others += held - before;
    client->output_sent();
    return bytes;
  }
  static ClientTerms terms() {
    return {.min_version = RecordVersion::kTls12,
            .refuse = [](const PeerTrust&) { return std::nullopt; }};
  }
  std::size_t taken() const { return held - others; }

  TestServer pki;
  std::shared_ptr<ClientContext> context = pki.client_context();
  test::TestCertificate certificate = pki.authority.issue({.dns = {"orders.test"}});
  std::unique_ptr<MemoryServer> server;
  std::unique_ptr<ClientHandshake> client;
  std::size_t others = 0;
};
/// For each version.
class ClientMemoryBy : public ClientMemory, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Each, ClientMemoryBy, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

TEST_P(ClientMemoryBy, IsBoundedBehindItsHello) {
  begin({.certificate = &certificate, .max_version = GetParam()});
  EXPECT_LE(taken(), client->memory());
  EXPECT_GE(2 * taken(), client->memory());
}

TEST_P(ClientMemoryBy, IsBoundedInTheMiddleOfTheLargestCertificates) {
  const test::TestCertificate wide{
      .x509 = wide_certificate(certificate, kMaxCertificateMessage - 1024),
      .key = certificate.key,
      .cert_pem = {},
      .chain_pem = {},
      .key_pem = {}};
  begin({.certificate = &certificate, .more_of_chain = {&wide}, .max_version = GetParam()});
  const std::string bytes = flight();
  ASSERT_GT(bytes.size(), kMaxCertificateMessage - 2048);
  constexpr std::size_t kPiece = 1024;
  constexpr std::size_t kFinished = 100;  // at most: without it, or ServerHelloDone, it waits
  const std::size_t waiting = client->memory();
  std::size_t most = 0;
  for (std::size_t at = 0; at < bytes.size() - kFinished; at += kPiece) {
    const std::size_t size = std::min(kPiece, bytes.size() - kFinished - at);
    client->feed(bytes_of(bytes).subspan(at, size));
    ASSERT_EQ(client->advance(), ClientHandshake::Step::kWantRead) << client->failure().detail;
    EXPECT_LE(taken(), client->memory()) << at;
    most = std::max(most, taken());
  }
  EXPECT_GT(most, waiting + (std::size_t{256} << 10)) << "certificates were decoded";
  EXPECT_LE(client->memory(), 3 * most);
}

// ServerKeyExchange is the largest message that OpenSSL takes memory for: 100 KiB are announced.
// OpenSSL 3.0 takes it then, 3.5 as the message comes.
TEST_F(ClientMemory, IsBoundedWhereTheServerAnnouncesMore) {
  begin({.certificate = &certificate, .max_version = TLS1_2_VERSION});
  const std::string bytes = flight();
  // The records of the flight are ServerHello, Certificate, ServerKeyExchange and its end.
  std::size_t at = 0;
  for (int i = 0; i < 2; ++i)
    at += kRecordHeaderSize +
          RecordHeader::parse(bytes_of(bytes).subspan(at).first<kRecordHeaderSize>()).length;
  const std::string start{22, 3, 3, 0, 4, 12, 1, static_cast<char>(0x8f), static_cast<char>(0xff)};
  client->feed(bytes_of(bytes).first(at));
  client->feed(bytes_of(start));
  ASSERT_EQ(client->advance(), ClientHandshake::Step::kWantRead) << client->failure().detail;
  EXPECT_LE(taken(), client->memory());
  std::string more{22, 3, 3, 0x40, 0};
  more.resize(more.size() + kMaxPlaintextSize);
  for (int i = 0; i < 6; ++i) {  // all but 4 KiB
    client->feed(bytes_of(more));
    ASSERT_EQ(client->advance(), ClientHandshake::Step::kWantRead) << client->failure().detail;
    EXPECT_LE(taken(), client->memory()) << i;
  }
  EXPECT_GT(taken(), std::size_t{100} << 10) << "it was taken";
}

}  // namespace
}  // namespace sallyport::ktls::testing
