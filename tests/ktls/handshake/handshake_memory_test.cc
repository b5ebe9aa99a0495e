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

#include "ktls/handshake/server_handshake.h"
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

}  // namespace
}  // namespace sallyport::ktls::testing
