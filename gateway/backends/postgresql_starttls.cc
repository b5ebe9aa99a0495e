#include "gateway/backends/postgresql_starttls.h"

#include <span>
#include <utility>

#include "iouring/result.h"
#include "ktls/base/hex.h"

namespace sallyport::gateway {
namespace {

constexpr std::array kSslRequest{std::byte{0x00}, std::byte{0x00}, std::byte{0x00},
                                 std::byte{0x08}, std::byte{0x04}, std::byte{0xD2},
                                 std::byte{0x16}, std::byte{0x2F}};
static_assert(kSslRequest.size() == kPostgresqlRequestSize);

std::unexpected<StarttlsFailure> answered(std::byte answer) {
  constexpr std::byte kErrorMessage{'E'};
  std::string why = "answered SSLRequest with 0x";
  if (answer == kPostgresqlNo) {
    why = "answered SSLRequest with N: it has no TLS";
  } else if (answer == kErrorMessage) {
    why = "answered SSLRequest with an error message";
  } else {
    ktls::append_hex(why, answer);
  }
  return std::unexpected(StarttlsFailure{.why = std::move(why)});
}

}  // namespace

iouring::Task<std::expected<void, StarttlsFailure>> ask_postgresql_for_tls(
    iouring::Socket& server) {
  iouring::Result<> sent = co_await server.send_all(kSslRequest);
  if (!sent) co_return std::unexpected(StarttlsFailure{.sys_errno = sent.error().value});
  std::array<std::byte, 1> answer{};
  iouring::Result<std::size_t> received = co_await server.recv(answer);
  if (!received) co_return std::unexpected(StarttlsFailure{.sys_errno = received.error().value});
  if (*received == 0)
    co_return std::unexpected(StarttlsFailure{.why = "ended at SSLRequest, without an answer"});
  if (answer[0] != kPostgresqlYes) co_return answered(answer[0]);
  co_return std::expected<void, StarttlsFailure>();
}

}  // namespace sallyport::gateway
