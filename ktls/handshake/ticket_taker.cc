#include "ktls/handshake/ticket_taker.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/uio.h>

#include <exception>
#include <utility>
#include <vector>

#include "ktls/records/record.h"
#include "ktls/records/record_protection.h"

namespace sallyport::ktls {
namespace {

constexpr std::byte kTicketMessage{4};

// A ticket, and beside it lifetime, age_add, nonce and extensions.
constexpr std::size_t kMaxBody = TicketTaker::kMaxTicket + 512;
static_assert(kHandshakeHeaderSize + kMaxBody <= kMaxPlaintextSize);

}  // namespace

TicketTaker::TicketTaker(SslPtr ssl, Facts facts, WallClock clock, Keep keep) noexcept
    : ssl_(std::move(ssl)), facts_(std::move(facts)), clock_(clock), keep_(std::move(keep)) {
  (void)SSL_free_buffers(ssl_.get());
}

bool TicketTaker::take(std::span<const std::byte> body) noexcept {
  if (left_ == 0) return false;
  --left_;
  bool good = true;
  if (body.size() <= kMaxBody) {
    try {
      good = give(body);
    } catch (const std::exception& exception) {  // std::bad_alloc
      good = false;
    }
  }
  if (!good) (void)OpensslError::drain();
  return good && left_ > 0;
}

bool TicketTaker::give(std::span<const std::byte> body) {
  std::vector<std::byte> message{kTicketMessage, std::byte{0},
                                 static_cast<std::byte>(body.size() >> 8),
                                 static_cast<std::byte>(body.size() & 0xff)};
  message.insert(message.end(), body.begin(), body.end());
  const iovec span{message.data(), message.size()};
  PlaintextCursor content{std::span(&span, 1)};
  CipherContexts contexts(1);
  RecordSealer sealer(contexts, facts_.suite, {facts_.server_secret, next_record_});
  std::vector<std::byte> record(sealed_size(message.size()));
  const auto sealed = sealer.seal(ContentType::kHandshake, content, record);
  if (!sealed) return false;
  next_record_ = sealer.next_record();

  ERR_clear_error();
  const int size = static_cast<int>(*sealed);
  if (BIO_write(SSL_get_rbio(ssl_.get()), record.data(), size) != size) return false;
  char none = 0;
  const int read = SSL_read(ssl_.get(), &none, sizeof none);
  if (SSL_get_error(ssl_.get(), read) != SSL_ERROR_WANT_READ) return false;
  if (auto session = latest_session(ssl_.get(), facts_.trust, facts_.authenticated_at, clock_()))
    keep_(*std::move(session));
  return true;
}

}  // namespace sallyport::ktls
