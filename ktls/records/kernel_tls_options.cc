#include "ktls/records/kernel_tls_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <span>

namespace sallyport::ktls {
namespace {

int set(int descriptor, int level, int name, std::span<const std::byte> value) noexcept {
  const auto size = static_cast<socklen_t>(value.size());
  return ::setsockopt(descriptor, level, name, value.data(), size) == 0 ? 0 : errno;
}

}  // namespace

int attach_kernel_tls(int descriptor) noexcept {
  const int error = set(descriptor, IPPROTO_TCP, TCP_ULP, std::as_bytes(std::span("tls")));
  return error == EEXIST ? 0 : error;
}

int set_kernel_key(int descriptor, int direction, const CryptoInfo& info) noexcept {
  return set(descriptor, SOL_TLS, direction, info.bytes());
}

int expect_no_pad(int descriptor) noexcept {
  const int on = 1;
  return set(descriptor, SOL_TLS, TLS_RX_EXPECT_NO_PAD, std::as_bytes(std::span(&on, 1)));
}

}  // namespace sallyport::ktls
