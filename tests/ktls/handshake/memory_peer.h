#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "tests/support/pki.h"

/// OpenSSL's client and server over memory BIOs, by its public API alone: the other side of the
/// handshakes that are tested.
namespace sallyport::ktls::testing {

class MemoryPeer {
 public:
  MemoryPeer(const MemoryPeer&) = delete;
  MemoryPeer& operator=(const MemoryPeer&) = delete;

  bool handshake();  ///< one step; true once finished
  bool failed() const { return failed_; }
  void give(std::span<const std::byte> ciphertext);
  std::string take();  ///< ciphertext to send
  bool write(std::string_view plaintext);
  /// Plaintext that is there; takes post-handshake messages on the way.
  std::string read();
  /// The description of the last alert received.
  std::optional<int> alert() const { return alert_; }
  SSL* ssl() { return ssl_.get(); }

 protected:
  explicit MemoryPeer(const SSL_METHOD* method);
  /// As after an orderly end: OpenSSL would make the session of a torn connection unusable.
  ~MemoryPeer();

  SSL_CTX* context() { return ctx_.get(); }
  /// Leaf, key and chain.
  void present(const test::TestCertificate& certificate);
  /// What this peer verifies the other's chain by.
  void trust(const std::string& anchors_pem);
  /// Behind the last change of context(): makes ssl().
  void start();

 private:
  static void on_info(const SSL* ssl, int where, int value);

  SslCtxPtr ctx_;
  SslPtr ssl_;
  bool failed_ = false;
  std::optional<int> alert_;
};

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

/// Knows its sessions.
class MemoryClient : public MemoryPeer {
 public:
  explicit MemoryClient(const ClientSetup& setup);

  const std::vector<SslSessionPtr>& sessions() const { return sessions_; }

 private:
  static int on_session(SSL* ssl, SSL_SESSION* session);

  std::vector<SslSessionPtr> sessions_;
};

struct ServerSetup {
  const test::TestCertificate* certificate = nullptr;  ///< required
  /// Behind those of the certificate's own chain.
  std::vector<const test::TestCertificate*> more_of_chain = {};
  std::string trust_pem = {};  ///< given: asks for the client's certificate, which must verify
  bool requires_client = false;
  std::string alpn = {};  ///< what it chooses, offered or not; empty: nothing
  std::string ciphersuites = {};
  std::string cipher_list = {};
  std::string groups = {};
  std::string client_signatures = {};  ///< that it takes of clients
  int min_version = TLS1_2_VERSION;
  int max_version = TLS1_3_VERSION;
  unsigned tickets = 0;
  std::uint64_t options = 0;  ///< SSL_OP_*
  /// Of a secret for tickets: servers with the same one resume each other's sessions. 0: its own.
  unsigned char ticket_secret = 0;
};

class MemoryServer : public MemoryPeer {
 public:
  explicit MemoryServer(const ServerSetup& setup);

  /// The client's SNI; empty: none.
  std::string sni();
  /// Of the client's certificate; empty: it gave none.
  std::string client_der();

 private:
  static int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                     const unsigned char* in, unsigned in_size, void* server);

  std::string alpn_;
};

}  // namespace sallyport::ktls::testing
