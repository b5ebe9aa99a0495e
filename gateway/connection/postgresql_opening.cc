#include "gateway/connection/postgresql_opening.h"

#include <algorithm>

#include "ktls/base/big_endian.h"

namespace sallyport::gateway {
namespace {

// ContentType handshake (RFC 8446 5.1). A length of PostgreSQL begins with zero.
constexpr std::byte kHandshakeRecord{22};

std::string_view name_of(std::uint32_t code) {
  if (code == kSslRequestCode) return "an SSLRequest of a wrong length";
  if (code == kGssencRequestCode) return "a GSSENCRequest of a wrong length";
  if (code == kCancelRequestCode) return "a CancelRequest in plaintext";
  const std::uint32_t major = code >> 16U;
  if (major == 2 || major == 3) return "a StartupMessage in plaintext";
  return "neither PostgreSQL nor TLS";
}

}  // namespace

PostgresqlOpening::Next PostgresqlOpening::add(std::span<const std::byte> bytes) {
  if (bytes.empty()) return Next::kReceive;
  const bool first = at_beginning() && !refused_gssenc_;
  if (first && bytes.front() == kHandshakeRecord) return Next::kDirectTls;
  const auto taken = bytes.first(std::min(bytes.size(), request_.size() - size_));
  std::ranges::copy(taken, request_.begin() + static_cast<std::ptrdiff_t>(size_));
  size_ += taken.size();
  if (request_.front() != std::byte{0}) return refuse("neither PostgreSQL nor TLS");
  if (size_ < request_.size()) return Next::kReceive;
  const Next next = answer();
  if (next != Next::kRefused && taken.size() < bytes.size())
    return refuse("bytes behind a request for encryption, before its answer");
  return next;
}

PostgresqlOpening::Next PostgresqlOpening::answer() {
  const std::span<const std::byte> request(request_);
  const auto length = ktls::from_big_endian(request.first<4>());
  const auto code = static_cast<std::uint32_t>(ktls::from_big_endian(request.last<4>()));
  size_ = 0;
  const bool whole = length == kPostgresqlRequestSize;
  if (whole && code == kSslRequestCode) return Next::kAnswerYes;
  if (!whole || code != kGssencRequestCode) return refuse(name_of(code));
  if (refused_gssenc_) return refuse("a second GSSENCRequest");
  refused_gssenc_ = true;
  return Next::kAnswerNo;
}

PostgresqlOpening::Next PostgresqlOpening::refuse(std::string_view why) {
  error_ = why;
  return Next::kRefused;
}

}  // namespace sallyport::gateway
