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

#include "ktls/handshake/client_context.h"
#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/server_context.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/trust/credentials.h"
#include "tests/ktls/handshake/memory_peer.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

/// Handshakes of ours with OpenSSL's other side, connected by memory alone.
namespace sallyport::ktls::testing {

/// What a test's ServerContext takes for now: the real time, moved by set_clock_offset().
std::chrono::sys_seconds test_clock();
void set_clock_offset(std::chrono::seconds offset);

/// A PKI, files and credentials as most tests want them; change the files before load().
class TestServer {
 public:
  TestServer();

  std::expected<std::shared_ptr<const Credentials>, CredentialsError> load() const;
  /// Credentials and a context; a failure fails the test and gives null.
  std::shared_ptr<ServerContext> context(std::string_view listener_set = "one listener") const;

  /// The same for the client's side.
  std::shared_ptr<ClientContext> client_context(
      ClientContext::Presents presents = ClientContext::Presents::kNothing) const;

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

/// The same for the client's side, in pieces of `piece` bytes towards it.
ClientHandshake::Step shuttle(ClientHandshake& client, MemoryServer& server,
                              std::size_t piece = static_cast<std::size_t>(-1));

/// Server output to the client, which then looks at it.
void deliver(RoutedHandshake& server, MemoryClient& client);

std::span<const std::byte> bytes_of(std::string_view text);

/// The content of all records in `ciphertext`, which `state.rx` opens.
std::string open_all(std::span<const std::byte> ciphertext, const SessionState& state);
/// `text` as records of application data under `state.tx`.
std::vector<std::byte> seal(std::string_view text, const SessionState& state);

}  // namespace sallyport::ktls::testing
