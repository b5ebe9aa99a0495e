#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/net.h"
#include "tests/support/pki.h"

namespace sallyport::test {

struct ClientOptions {
  std::optional<TestCertificate> certificate = {};  ///< none: the client presents nothing
  std::optional<std::string> trust_pem = {};        ///< given: the gateway's chain must verify
  std::string sni = {};                             ///< empty: no server_name extension
  std::vector<std::string> alpn = {};
  std::string ciphersuites = {};  ///< of TLS 1.3, OpenSSL's names; empty: its default
  std::string cipher_list = {};   ///< of TLS 1.2
  std::string groups = {};
  std::string signature_algorithms = {};
  int min_version = 0;  ///< e.g. TLS1_2_VERSION; 0: TLS 1.3
  int max_version = 0;
  std::uint64_t ssl_options = 0;              ///< SSL_OP_...
  std::shared_ptr<SSL_SESSION> session = {};  ///< to resume, as often as it is given
  std::string source = {};                    ///< local address, `127.0.0.9:0`
  /// The socket's buffers, so that back-pressure is felt early; 0: the kernel's default.
  int socket_buffer = 0;
  /// Writes go out in pieces of random size below this; 0: as OpenSSL makes them.
  std::size_t segment_below = 0;
  std::uint64_t seed = 1;
  /// Given: the secrets, one a line as SSLKEYLOGFILE has them, are added to it; outlives the
  /// client.
  std::string* key_log = nullptr;
  /// Given: the constructor returns, not yet connected(), once as many flights have left;
  /// finish_handshake() does the rest. 0: the whole handshake.
  std::size_t handshake_flights = 0;
  /// Called with each piece of ciphertext before it leaves; may change it.
  void (*tamper)(std::string& ciphertext, std::size_t flight) = nullptr;
};

/// How what the gateway sent came to its end.
enum class TlsEnd {
  kOpen,
  kCloseNotify,  ///< close_notify, then FIN or still open
  kAlert,        ///< a fatal alert, see alert()
  kTruncated,    ///< FIN without close_notify
  kReset,
  kFailed,  ///< what came is not valid TLS, see tls_error()
};
const char* to_string(TlsEnd end);

/// A TLS client over memory BIOs, so that the test decides when and in which pieces ciphertext
/// leaves. Blocking, one thread. In TLS 1.3 the client is done before the server has judged its
/// certificate: a refusal shows at the first receive().
class TlsClient {
 public:
  /// Connects and does the client's part of the handshake. Does not throw when TLS fails: see
  /// connected(), end() and alert().
  TlsClient(const std::string& address, ClientOptions options);
  /// The same over a socket that is connected already.
  TlsClient(Fd socket, ClientOptions options);
  ~TlsClient();
  TlsClient(TlsClient&&) noexcept;
  TlsClient& operator=(TlsClient&&) noexcept;

  /// What ClientOptions::handshake_flights left.
  void finish_handshake();

  bool connected() const;  ///< the client's part of the handshake succeeded
  TlsEnd end() const;
  std::optional<int> alert() const;  ///< the last alert received, close_notify (0) included
  std::string tls_error() const;     ///< OpenSSL's words for a local failure

  /// False when the connection broke while sending.
  bool send(std::string_view data);
  /// Encrypts but holds the ciphertext back until the next send or flush.
  void hold(std::string_view data);
  bool flush();
  /// Sends what the socket takes now; how much ciphertext is left.
  std::size_t flush_some();
  /// `enough` bytes of plaintext, or less when the stream ended. What is more stays for the next
  /// call.
  std::string receive(std::size_t enough);
  /// Until the stream ends.
  std::string receive_all();
  /// Sends and receives at once, as a relayed echo needs: all of `data`, and `expected` bytes back.
  std::string exchange(std::string_view data, std::size_t expected);
  /// Sends and expects the same back.
  bool echo(std::string_view data);

  void close_notify();    ///< sends the alert and nothing else
  void shutdown_write();  ///< FIN after whatever was sent
  void abrupt_close();    ///< FIN and gone, no close_notify
  void reset();           ///< RST
  void key_update(bool ask_peer);
  /// Reads until a session ticket arrived, and gives the session to resume with.
  std::shared_ptr<SSL_SESSION> session();
  std::size_t tickets_received() const;

  bool resumed() const;
  std::string cipher() const;
  std::string group() const;
  std::string selected_alpn() const;
  std::uint64_t server_serial() const;
  std::string local_address() const;
  Fd& socket();
  SSL* ssl();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sallyport::test
