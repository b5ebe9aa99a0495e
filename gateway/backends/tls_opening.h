// From a connected backend to one that has proven who it is.
#pragma once

#include <expected>
#include <memory>

#include "iouring/buffer_ring.h"
#include "iouring/idle_worker.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake/client_context.h"
#include "ktls/handshake/client_handshake.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

/// What a connection to a backend began with did not end well. An errno fails the attempt as one of
/// connect(2) does. A handshake that failed counts against the endpoint, not against its address,
/// which other routes may have.
struct OpeningFailure {
  int sys_errno = 0;
  std::unique_ptr<const ktls::HandshakeFailure> tls = nullptr;
};
[[nodiscard]] std::unexpected<OpeningFailure> opening_fails(ktls::HandshakeFailure failure);

/// The word for a failure of a handshake with a backend: one of those for its certificate, and
/// backend_tls_failed for everything else.
[[nodiscard]] ktls::HandshakeResult refusal_of_backend(ktls::HandshakeResult of_handshake);

/// The client's side of a TLS handshake with a backend on a socket that was just connected. Belongs
/// to the thread of its ring; OpenSSL's steps are an idle worker's. What is given by reference
/// outlives it.
class TlsOpening {
 public:
  TlsOpening(iouring::Socket& socket, iouring::BufferRing& buffers) noexcept
      : socket_(socket), buffers_(buffers) {}
  virtual ~TlsOpening() = default;
  TlsOpening(const TlsOpening&) = delete;
  TlsOpening& operator=(const TlsOpening&) = delete;

  /// Until the server is verified: tls() is at kDone. Fails, too, where it speaks first; then the
  /// alert was sent, if there is one. A PostgreSQL server is asked for TLS before.
  iouring::Task<std::expected<void, OpeningFailure>> run(
      std::shared_ptr<ktls::ClientContext> context, const ktls::ClientTerms& offer,
      bool starttls_postgresql = false);
  /// Behind run(), when the server is the right one. Frees OpenSSL's part; `has_openssl`: nobody
  /// else took that to collect tickets.
  iouring::Task<std::expected<void, OpeningFailure>> send_last_flight(bool has_openssl);
  /// Of a handshake that has failed: 50 to 65 KiB, and OpenSSL's locks.
  iouring::Task<void> free_openssl();

  /// Null before the first step of run(), and once it was moved from or freed.
  [[nodiscard]] std::unique_ptr<ktls::ClientHandshake>& tls() noexcept { return tls_; }
  [[nodiscard]] const std::unique_ptr<ktls::ClientHandshake>& tls() const noexcept { return tls_; }

 protected:
  /// Who does the next step.
  [[nodiscard]] virtual iouring::IdleWorker& worker() = 0;
  /// With what precedence over other work of it.
  [[nodiscard]] virtual iouring::Rank rank() const { return iouring::Rank::kStarted; }
  /// There is work from now on.
  virtual void work() {}
  /// The backend is waited for from now on.
  virtual void wait() {}

 private:
  iouring::Task<std::expected<void, OpeningFailure>> ask_postgresql();
  iouring::Task<iouring::Result<>> receive_more();

  iouring::Socket& socket_;
  iouring::BufferRing& buffers_;
  std::unique_ptr<ktls::ClientHandshake> tls_;
};

}  // namespace sallyport::gateway
