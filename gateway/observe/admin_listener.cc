#include "gateway/observe/admin_listener.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace sallyport::gateway {
namespace {

const char* path_of(const iouring::SocketAddress& unix_address) {
  return reinterpret_cast<const sockaddr_un*>(unix_address.data())->sun_path;
}

iouring::FileDescriptor new_socket(int family, int flags) {
  return iouring::FileDescriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

std::unexpected<std::string> failed(const AdminAddress& at, const std::string& why) {
  return std::unexpected("admin: cannot listen on " + at.text + ": " + why);
}

// What keeps the path of a unix socket from being bound; nothing if it is free, or was made so.
std::optional<std::string> make_way(const iouring::SocketAddress& at) {
  struct stat file{};
  if (::lstat(path_of(at), &file) != 0) return std::nullopt;  // bind(2) reports what is wrong
  if (!S_ISSOCK(file.st_mode)) return "a file that is no socket is there";
  if (file.st_uid != ::geteuid()) return "a socket of another user is there";
  const iouring::FileDescriptor probe = new_socket(AF_UNIX, SOCK_NONBLOCK);
  if (!probe) return std::strerror(errno);
  const bool refused = ::connect(probe.get(), at.data(), at.size()) != 0 && errno == ECONNREFUSED;
  if (!refused) return std::strerror(EADDRINUSE);
  if (::unlink(path_of(at)) != 0) return std::strerror(errno);
  return std::nullopt;
}

}  // namespace

std::expected<AdminListener, std::string> AdminListener::bind(const AdminAddress& at) {
  AdminListener listener(new_socket(at.address.family(), SOCK_NONBLOCK), at.address);
  const int fd = listener.descriptor_.get();
  if (fd < 0) return failed(at, std::strerror(errno));

  const bool is_unix = at.address.is_unix();
  const int on = 1;
  if (is_unix) {
    if (const auto obstacle = make_way(at.address)) return failed(at, *obstacle);
    // The file that bind(2) makes has the socket's mode without the umask's bits.
    if (::fchmod(fd, at.mode) != 0) return failed(at, std::strerror(errno));
  } else {
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at.address.family() == AF_INET6)
      ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(fd, at.address.data(), at.address.size()) != 0)
    return failed(at, std::strerror(errno));
  if (is_unix) {
    struct stat file{};
    if (::lstat(path_of(at.address), &file) != 0) return failed(at, std::strerror(errno));
    listener.device_ = file.st_dev;
    listener.inode_ = file.st_ino;
    if (::chmod(path_of(at.address), at.mode) != 0) return failed(at, std::strerror(errno));
  }
  if (::listen(fd, SOMAXCONN) != 0) return failed(at, std::strerror(errno));

  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (!is_unix && ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0)
    listener.address_ = iouring::SocketAddress(reinterpret_cast<const sockaddr*>(&name), length);
  return listener;
}

AdminListener::~AdminListener() {
  if (inode_ == 0) return;
  struct stat file{};
  const bool ours =
      ::lstat(path_of(address_), &file) == 0 && file.st_dev == device_ && file.st_ino == inode_;
  if (ours) ::unlink(path_of(address_));
}

}  // namespace sallyport::gateway
