#include "gateway/backends/tls_opening.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/backends/postgresql_starttls.h"
#include "iouring/buffer_ring.h"

namespace sallyport::gateway {
namespace {

using ktls::HandshakeResult;
using Step = ktls::ClientHandshake::Step;

// Beside the errnos: the backend ended its side.
constexpr int kEnded = 0;

// Of a socket that was connected.
std::unexpected<OpeningFailure> gone(int error) {
  if (error == ECANCELED) return std::unexpected(OpeningFailure{.sys_errno = ECANCELED});
  std::string detail = "ended the TLS handshake";
  if (error != kEnded) detail += std::string(" (") + iouring::errno_name(error) + ")";
  return opening_fails(
      {.result = HandshakeResult::kPeerConnectionClosed, .detail = std::move(detail)});
}

// Nothing may be there before our ClientHello. What is, is of somebody who does not speak TLS, or
// was put in by somebody on the way.
std::expected<void, OpeningFailure> must_be_silent(const iouring::Socket& backend) {
  std::byte first{};
  const ssize_t there = ::recv(backend.descriptor(), &first, sizeof first, MSG_PEEK | MSG_DONTWAIT);
  const int error = there < 0 ? errno : kEnded;
  if (error == EAGAIN) return {};
  if (there <= 0) return gone(error);
  return opening_fails({.result = HandshakeResult::kUnexpectedMessage,
                        .detail = "spoke before the TLS handshake began"});
}

iouring::Task<iouring::Result<>> send(iouring::Socket& backend, std::span<const std::byte> output) {
  if (output.empty()) co_return iouring::Result<>{};
  iouring::Result<> sent = co_await backend.send_all(output);
  co_return sent;
}

}  // namespace

std::unexpected<OpeningFailure> opening_fails(ktls::HandshakeFailure failure) {
  return std::unexpected(
      OpeningFailure{.tls = std::make_unique<const ktls::HandshakeFailure>(std::move(failure))});
}

HandshakeResult refusal_of_backend(HandshakeResult of_handshake) {
  switch (of_handshake) {
    case HandshakeResult::kCertificateExpired:
      return HandshakeResult::kBackendExpired;
    case HandshakeResult::kCertificateRevoked:
      return HandshakeResult::kBackendRevoked;
    case HandshakeResult::kCertificateAuthorityInvalid:
    case HandshakeResult::kCertificateNotYetValid:
    case HandshakeResult::kCertificateMalformed:
    case HandshakeResult::kCertificatePurposeInvalid:
    case HandshakeResult::kCertificateVerificationFailed:
    case HandshakeResult::kCrlUnavailable:
    case HandshakeResult::kCrlExpired:
      return HandshakeResult::kBackendUntrusted;
    case HandshakeResult::kNotAuthorized:
      return HandshakeResult::kBackendNotVerified;
    default:
      return HandshakeResult::kBackendTlsFailed;
  }
}

iouring::Task<std::expected<void, OpeningFailure>> TlsOpening::ask_postgresql() {
  wait();
  const auto begins = co_await ask_postgresql_for_tls(socket_);
  if (begins) co_return std::expected<void, OpeningFailure>();
  const StarttlsFailure& failure = begins.error();
  if (failure.sys_errno != 0) co_return gone(failure.sys_errno);
  co_return opening_fails({.result = HandshakeResult::kBackendTlsFailed, .detail = failure.why});
}

iouring::Task<iouring::Result<>> TlsOpening::receive_more() {
  do {
    wait();
    iouring::Result<iouring::Lease> received = co_await socket_.recv(buffers_);
    if (!received) co_return iouring::failure(received.error().value);
    if (received->bytes().empty()) co_return iouring::failure(kEnded);
    tls_->feed(received->bytes());
  } while (!tls_->can_advance());
  co_return iouring::Result<>{};
}

iouring::Task<std::expected<void, OpeningFailure>> TlsOpening::run(
    std::shared_ptr<ktls::ClientContext> context, const ktls::ClientTerms& offer,
    bool starttls_postgresql) {
  if (starttls_postgresql) {
    auto begins = co_await ask_postgresql();
    if (!begins) co_return begins;
  }
  while (true) {
    Step step = Step::kWantRead;
    const bool first = !tls_;
    work();
    iouring::Result<> ran = co_await worker().run(rank(), [&] {
      if (!tls_) tls_ = std::make_unique<ktls::ClientHandshake>(context, offer);
      step = tls_->advance();
    });
    if (!ran) co_return gone(ran.error().value);
    if (first) {
      auto silent = must_be_silent(socket_);
      if (!silent) co_return silent;
    }
    if (step == Step::kDone) co_return std::expected<void, OpeningFailure>();
    wait();
    iouring::Result<> sent = co_await send(socket_, tls_->output());
    if (step == Step::kFailed) co_return opening_fails(tls_->failure());
    if (!sent) co_return gone(sent.error().value);
    tls_->output_sent();
    iouring::Result<> received = co_await receive_more();
    if (!received) co_return gone(received.error().value);
  }
}

iouring::Task<std::expected<void, OpeningFailure>> TlsOpening::send_last_flight(bool has_openssl) {
  std::vector<std::byte> flight;
  if (has_openssl) {
    iouring::Result<> ran =
        co_await worker().run(iouring::Rank::kStarted, [&] { flight = tls_->take_output(); });
    if (!ran) co_return gone(ran.error().value);
  } else {
    flight = tls_->take_output();
  }
  wait();
  iouring::Result<> sent = co_await send(socket_, flight);
  if (!sent) co_return gone(sent.error().value);
  co_return std::expected<void, OpeningFailure>();
}

iouring::Task<void> TlsOpening::free_openssl() {
  iouring::Result<> ran = co_await worker().run(iouring::Rank::kStarted, [this] { tls_.reset(); });
  if (!ran) tls_.reset();
}

}  // namespace sallyport::gateway
