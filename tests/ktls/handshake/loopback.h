#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/handshake/server_context.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/trust/credentials.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

/// A client and a server of the handshake tests, connected by memory alone.
namespace sallyport::ktls::testing {

/// What a test's ServerContext takes for now: the real time, moved by set_clock_offset().
std::chrono::sys_seconds test_clock();
void set_clock_offset(std::chrono::seconds offset);

struct ClientSetup {
  const test::TestCertificate* certificate = nullptr;  ///< null: none
  std::string trust_pem = {};                          ///< given: the server's chain must verify
  std::string sni = {};
  std::vector<std::string> alpn = {};
  std::string ciphersuites = {};  ///< TLS 1.3
  std::string cipher_list = {};   ///< TLS 1.2
  std::string groups = {};
  int min_version = TLS1_3_VERSION;
  int max_version = TLS1_3_VERSION;
  SSL_SESSION* session = nullptr;
  std::uint8_t max_fragment_code = 0;  ///< of max_fragment_length: 1 = 512 bytes, 4 = 4096; 0: none
};

/// OpenSSL's client over memory BIOs. Knows the alert that it received last and its sessions.
class MemoryClient {
 public:
  explicit MemoryClient(const ClientSetup& setup);
  /// As after an orderly end: OpenSSL would make the session of a torn connection unusable.
  ~MemoryClient() { SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }
  MemoryClient(const MemoryClient&) = delete;
  MemoryClient& operator=(const MemoryClient&) = delete;

  bool handshake();  ///< one step; true once finished
  bool failed() const { return failed_; }
  void give(std::span<const std::byte> ciphertext);
  std::string take();  ///< ciphertext to send
  bool write(std::string_view plaintext);
  /// Plaintext that is there; takes post-handshake messages on the way.
  std::string read();
  /// The description of the last alert received.
  std::optional<int> alert() const { return alert_; }
  const std::vector<SslSessionPtr>& sessions() const { return sessions_; }
  SSL* ssl() { return ssl_.get(); }

 private:
  static int on_session(SSL* ssl, SSL_SESSION* session);
  static void on_info(const SSL* ssl, int where, int value);

  SslCtxPtr ctx_;
  SslPtr ssl_;
  bool failed_ = false;
  std::optional<int> alert_;
  std::vector<SslSessionPtr> sessions_;
};

/// A PKI, files and credentials as most tests want them; change the files before load().
class TestServer {
 public:
  TestServer();

  std::expected<std::shared_ptr<const Credentials>, CredentialsError> load() const;
  /// Credentials and a context; a failure fails the test and gives null.
  std::shared_ptr<ServerContext> context(std::string_view listener_set = "one listener") const;

  test::TestCertificate client(test::KeyType type = test::KeyType::kEcdsaP256) const;
  /// Issues, and overwrites, the only pair.
  void serve_with(test::KeyType type);

  test::TempDir dir;
  test::TestAuthority authority;
  test::TestCertificate own;
  CredentialFiles files;
  HandshakeSettings settings;
};

/// What to do with a ClientHello: the protocol to confirm, empty for none, or a refusal.
using RouteByHello =
    std::function<std::expected<std::string, HandshakeResult>(const ClientHello& hello)>;

/// Accepts every hello and confirms no protocol.
RouteByHello any_route();

/// A ServerHandshake that decides on the hello by itself.
class RoutedHandshake : public ServerHandshake {
 public:
  RoutedHandshake(std::shared_ptr<ServerContext> context, RouteByHello route)
      : ServerHandshake(std::move(context)), route_(std::move(route)) {}
  Step advance();

  // For accept().
  CaNames::Clients clients = nullptr;
  std::shared_ptr<ServerContext> context;
  const Sha256* ticket_binding = nullptr;
  bool certificate = false;

 private:
  RouteByHello route_;
};

/// Carries ciphertext both ways until neither side has more, in pieces of `piece` bytes towards the
/// server. Returns the server's last step.
ServerHandshake::Step shuttle(RoutedHandshake& server, MemoryClient& client,
                              std::size_t piece = static_cast<std::size_t>(-1));

/// Server output to the client, which then looks at it.
void deliver(RoutedHandshake& server, MemoryClient& client);

std::span<const std::byte> bytes_of(std::string_view text);

/// The content of all records in `ciphertext`, which `state.rx` opens.
std::string open_all(std::span<const std::byte> ciphertext, const SessionState& state);
/// `text` as records of application data under `state.tx`.
std::vector<std::byte> seal(std::string_view text, const SessionState& state);

}  // namespace sallyport::ktls::testing
