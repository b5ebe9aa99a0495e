#include "bench/load/openssl_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <cstring>

#include "bench/load/fd.h"

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

}  // namespace

void require_openssl(bool good, const std::string& what) {
  if (good) return;
  errno = 0;
  die(what + ": " + queued_errors());
}

void set_for_streams(SSL_CTX* context) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  // One recv(2) for as many records as there are, instead of two for each.
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, 64 << 10);
}

std::unique_ptr<Stream> openssl_stream(SSL* ssl, std::span<std::byte> buffer) {
  return std::make_unique<OpensslStream>(ssl, buffer);
}

}  // namespace sallyport::bench
