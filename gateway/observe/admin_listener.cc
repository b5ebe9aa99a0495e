#include "gateway/observe/admin_listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace sallyport::gateway {
namespace {

iouring::FileDescriptor new_socket(int family, int flags) {
  return iouring::FileDescriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

std::unexpected<std::string> failed(const std::string& at, const std::string& why) {
  return std::unexpected("admin: cannot listen on " + at + ": " + why);
}

}  // namespace

std::expected<AdminListener, std::string> AdminListener::bind(const AdminAddress& at, bool shared) {
  AdminListener listener(new_socket(at.address.family(), SOCK_NONBLOCK), at);
  const int fd = listener.descriptor_.get();
  if (fd < 0) return failed(at.text, std::strerror(errno));

  const bool is_unix = at.address.is_unix();
  const int on = 1;
  if (is_unix) {
    auto file =
        SocketFile::listen(fd, at.address, {.mode = at.mode},
                           shared ? SocketFile::InUse::kTakeOver : SocketFile::InUse::kIsAnError);
    if (!file) return failed(at.text, file.error());
    listener.file_.emplace(*std::move(file));
  } else {
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at.address.family() == AF_INET6)
      ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (shared && ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
      return failed(at.text, std::strerror(errno));
    if (::bind(fd, at.address.data(), at.address.size()) != 0)
      return failed(at.text, std::strerror(errno));
    if (::listen(fd, SOMAXCONN) != 0) return failed(at.text, std::strerror(errno));
  }

  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (!is_unix && ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0)
    listener.address_ = iouring::SocketAddress(reinterpret_cast<const sockaddr*>(&name), length);
  return listener;
}

std::expected<void, std::string> AdminListener::take_place() {
  if (!file_) return {};
  const auto taken = file_->take_place();
  if (!taken) return failed(asked_, taken.error());
  return {};
}

}  // namespace sallyport::gateway
