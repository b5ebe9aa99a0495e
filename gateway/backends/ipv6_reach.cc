#include "gateway/backends/ipv6_reach.h"

#include <netinet/in.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kRemembered = 1min;
// A success is written down at most this often, so that shards do not pass the cache line around.
constexpr std::chrono::nanoseconds kWrittenEvery = 1s;

// How Linux answers connect(2) where it has no route (ENETUNREACH), a route and no address to use
// as the source, as with net.ipv6.conf.all.disable_ipv6 (EADDRNOTAVAIL), or no IPv6 at all, booted
// with ipv6.disable=1 (EAFNOSUPPORT). EHOSTUNREACH is a neighbour's silence: it says nothing of
// others.
bool is_want_of_a_route(int error) noexcept {
  return error == ENETUNREACH || error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

}  // namespace

bool Ipv6Reach::concerns(const iouring::SocketAddress& address) noexcept {
  if (address.family() != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, address.data(), sizeof v6);
  return !IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) && !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) &&
         !IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr);
}

void Ipv6Reach::failed(TimePoint now, int error) noexcept {
  const std::int64_t time = now.time_since_epoch().count();
  if (!is_want_of_a_route(error) || time < trusted_until_.load(std::memory_order_relaxed)) return;
  avoid_until_.store(time + kRemembered.count(), std::memory_order_relaxed);
}

void Ipv6Reach::succeeded(TimePoint now) noexcept {
  const std::int64_t until = now.time_since_epoch().count() + kRemembered.count();
  if (until - trusted_until_.load(std::memory_order_relaxed) >= kWrittenEvery.count())
    trusted_until_.store(until, std::memory_order_relaxed);
  if (avoid_until_.load(std::memory_order_relaxed) != 0)
    avoid_until_.store(0, std::memory_order_relaxed);
}

}  // namespace sallyport::gateway
