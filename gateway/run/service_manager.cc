#include "gateway/run/service_manager.h"

#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string_view>

#include "gateway/observe/log.h"
#include "iouring/address.h"
#include "iouring/clock.h"

namespace sallyport::gateway {

namespace {

const char* notify_socket() {
  return std::getenv("NOTIFY_SOCKET");  // NOLINT(concurrency-mt-unsafe): nobody sets variables
}

}  // namespace

bool has_service_manager() {
  return notify_socket() != nullptr;
}

void notify_ready() {
  sd_notify(0, "READY=1");
}

void notify_reloading() {
  const auto micros = static_cast<unsigned long long>(iouring::clock_ns(CLOCK_MONOTONIC) / 1'000);
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", micros);
}

void notify_stopping() {
  sd_notify(0, "STOPPING=1");
}

void notify_status(const std::string& line) {
  sd_notify(0, ("STATUS=" + line).c_str());
}

std::unique_ptr<Watchdog> Watchdog::create(std::size_t shards) {
  std::uint64_t micros = 0;
  if (sd_watchdog_enabled(0, &micros) <= 0) return nullptr;
  const auto failed = [](const char* why) {
    log_warning("systemd's watchdog is not fed", {{"error", why}});
    return nullptr;
  };
  const char* const path = notify_socket();
  const auto address =
      iouring::SocketAddress::parse(std::string("unix:") + (path != nullptr ? path : ""));
  if (!address) return failed("NOTIFY_SOCKET is no unix socket");
  // Not sd_notify(3), which waits where systemd stalls, and a shard with it.
  iouring::FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::connect(socket.get(), address->data(), address->size()) != 0)
    return failed(std::strerror(errno));
  const auto interval =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::microseconds(micros) / 3);
  return std::unique_ptr<Watchdog>(
      new Watchdog(std::move(socket), std::max(interval, std::chrono::milliseconds(1)), shards));
}

void Watchdog::turned(std::size_t shard) {
  if (turned_[shard].exchange(true) || missing_.fetch_sub(1) != 1) return;
  // The last one, and no other counts before its flag is down again.
  all_turned_at_ = Clock::now();
  missing_ = turned_.size();
  std::ranges::fill(turned_, false);
  // One that systemd has no room for is as good as none; two more follow within its time.
  constexpr std::string_view kFed = "WATCHDOG=1";
  (void)::send(socket_.get(), kFed.data(), kFed.size(), MSG_NOSIGNAL);
}

std::optional<std::size_t> Watchdog::hanging() const {
  if (Clock::now() - all_turned_at_.load() < 2 * interval_) return std::nullopt;
  const auto at = std::find(turned_.begin(), turned_.end(), false);
  if (at == turned_.end()) return std::nullopt;
  return static_cast<std::size_t>(std::distance(turned_.begin(), at));
}

}  // namespace sallyport::gateway
