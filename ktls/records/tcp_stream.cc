#include "ktls/records/tcp_stream.h"

// The kernel's own tcp_info: glibc's ends before tcpi_bytes_acked, and the two headers exclude each
// other.
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstddef>

namespace sallyport::ktls {
namespace {

constexpr int kLevelTcp = 6;    // IPPROTO_TCP
constexpr int kStateClose = 7;  // TCP_CLOSE

std::optional<std::uint64_t> acknowledged(int descriptor) noexcept {
  tcp_info info{};
  socklen_t size = sizeof info;
  constexpr std::size_t kNeeded =
      offsetof(tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked;
  if (::getsockopt(descriptor, kLevelTcp, TCP_INFO, &info, &size) != 0 || size < kNeeded ||
      info.tcpi_state == kStateClose) {
    return std::nullopt;
  }
  return info.tcpi_bytes_acked;
}

}  // namespace

std::optional<std::uint64_t> bytes_given_to_tcp(int descriptor) noexcept {
  int unacknowledged = 0;
  if (::ioctl(descriptor, SIOCOUTQ, &unacknowledged) != 0) return std::nullopt;
  std::optional<std::uint64_t> after = acknowledged(descriptor);
  // While nothing is unacknowledged, no acknowledgement can have arrived in between.
  while (after && unacknowledged != 0) {
    const std::uint64_t before = *after;
    if (::ioctl(descriptor, SIOCOUTQ, &unacknowledged) != 0) return std::nullopt;
    after = acknowledged(descriptor);
    if (after == before) break;
  }
  if (!after) return std::nullopt;
  return *after + static_cast<std::uint64_t>(unacknowledged);
}

}  // namespace sallyport::ktls
