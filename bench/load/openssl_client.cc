#include "bench/load/openssl_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "bench/load/fd.h"
#include "bench/load/issuer.h"
#include "bench/load/openssl_free.h"

namespace sallyport::bench {
namespace {

std::string queued_errors() {
  std::string text;
  while (const unsigned long code = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(code);
    if (!text.empty()) text += "; ";
    text += reason != nullptr ? reason : "unknown";
  }
  return text;
}

void require(bool good, const std::string& what) {
  if (good) return;
  errno = 0;
  die(what + ": " + queued_errors());
}

struct OpensslTicket : Ticket {
  explicit OpensslTicket(SSL_SESSION* taken) : session(taken) {}
  Owned<SSL_SESSION> session;
};

class OpensslStream final : public Stream {
 public:
  OpensslStream(SSL* ssl, std::span<std::byte> buffer) : ssl_(ssl), buffer_(buffer) {}

  Io handshake() override { return outcome(SSL_do_handshake(ssl_.get())); }

  Io read(std::span<const std::byte>& plaintext) override {
    size_t count = 0;
    const Io io = outcome(SSL_read_ex(ssl_.get(), buffer_.data(), buffer_.size(), &count));
    plaintext = buffer_.first(count);
    return io;
  }

  Io write(std::span<const std::byte> plaintext, size_t& count) override {
    return outcome(SSL_write_ex(ssl_.get(), plaintext.data(), plaintext.size(), &count));
  }

  void close_notify() override { SSL_shutdown(ssl_.get()); }
  bool resumed() const override { return SSL_session_reused(ssl_.get()) == 1; }
  std::string error() const override { return error_; }

 private:
  Io outcome(int result) {
    if (result == 1) return Io::kDone;
    const int saved = errno;
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        return Io::kAgain;
      case SSL_ERROR_ZERO_RETURN:
        return Io::kClosed;
      case SSL_ERROR_SYSCALL:
        if (saved == 0) return Io::kClosed;
        error_ = std::strerror(saved);
        break;
      default:
        error_ = queued_errors();
        if (error_ == "unexpected eof while reading") return Io::kClosed;
    }
    ERR_clear_error();
    return Io::kFailed;
  }

  Owned<SSL> ssl_;
  std::span<std::byte> buffer_;
  std::string error_;
};

// There the groups are also the curves of certificates.
void restrict_to_tls12(SSL_CTX* context, const Options& options) {
  const std::string groups = options.groups + ":P-256";
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  require(SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES256-GCM-SHA384") == 1, "cipher list");
  require(SSL_CTX_set1_groups_list(context, groups.c_str()) == 1, groups);
}

class OpensslClient final : public Client {
 public:
  explicit OpensslClient(const Options& options)
      : context_(SSL_CTX_new(TLS_client_method())), sni_(options.sni) {
    SSL_CTX* const context = context_.get();
    require(context != nullptr, "SSL_CTX_new");
    if (options.tls12) {
      restrict_to_tls12(context, options);
    } else {
      SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
      require(SSL_CTX_set_ciphersuites(context, options.ciphersuites.c_str()) == 1,
              options.ciphersuites);
      require(SSL_CTX_set1_groups_list(context, options.groups.c_str()) == 1, options.groups);
    }
    if (!options.issuer.empty()) {
      issuer_ = std::make_unique<Issuer>(options.issuer, options.issuer_key);
    } else if (!options.certificate.empty()) {
      require(SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()) == 1,
              options.certificate);
      require(SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM) == 1,
              options.key);
    }
    if (!options.ca.empty()) {
      require(SSL_CTX_load_verify_locations(context, options.ca.c_str(), nullptr) == 1, options.ca);
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    }
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    // One recv(2) for as many records as there are, instead of two for each.
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 << 10);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
  }

  std::unique_ptr<Stream> stream(int descriptor, TicketSlot* tickets) override {
    SSL* const ssl = SSL_new(context_.get());
    require(ssl != nullptr && SSL_set_fd(ssl, descriptor) == 1, "SSL_new");
    if (issuer_) issuer_->give_next(ssl);
    if (!sni_.empty()) SSL_set_tlsext_host_name(ssl, sni_.c_str());
    SSL_set_app_data(ssl, reinterpret_cast<char*>(tickets));
    if (tickets != nullptr && *tickets) {
      SSL_set_session(ssl, static_cast<const OpensslTicket&>(**tickets).session.get());
    }
    SSL_set_connect_state(ssl);
    return std::make_unique<OpensslStream>(ssl, buffer_);
  }

 private:
  static int keep_ticket(SSL* ssl, SSL_SESSION* session) {
    auto* const tickets = reinterpret_cast<TicketSlot*>(SSL_get_app_data(ssl));
    if (tickets == nullptr) return 0;
    *tickets = std::make_shared<OpensslTicket>(session);
    return 1;  // the session is ours now
  }

  Owned<SSL_CTX> context_;
  std::unique_ptr<Issuer> issuer_;  // null: one certificate for all
  std::string sni_;
  std::array<std::byte, 64 << 10> buffer_;
};

}  // namespace

std::unique_ptr<Client> openssl_client(const Options& options) {
  return std::make_unique<OpensslClient>(options);
}

}  // namespace sallyport::bench
