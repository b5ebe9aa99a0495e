#include "gateway/observe/socket_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "iouring/file_descriptor.h"

namespace sallyport::gateway {
namespace {

const char* path_of(const iouring::SocketAddress& unix_address) {
  return reinterpret_cast<const sockaddr_un*>(unix_address.data())->sun_path;
}

// What keeps the path from being bound; nothing if it is free, or was made so.
std::optional<std::string> make_way(const iouring::SocketAddress& at, std::optional<uid_t> owner) {
  struct stat file{};
  if (::lstat(path_of(at), &file) != 0) return std::nullopt;  // bind(2) reports what is wrong
  if (!S_ISSOCK(file.st_mode)) return "a file that is no socket is there";
  if (file.st_uid != ::geteuid() && file.st_uid != owner)
    return "a socket of another user is there";
  const iouring::FileDescriptor probe(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return std::strerror(errno);
  const bool refused = ::connect(probe.get(), at.data(), at.size()) != 0 && errno == ECONNREFUSED;
  if (!refused) return std::strerror(EADDRINUSE);
  if (::unlink(path_of(at)) != 0) return std::strerror(errno);
  return std::nullopt;
}

bool set_access(const char* path, const SocketFile::Access& access) {
  constexpr auto kSame = static_cast<uid_t>(-1);
  const bool other_owner = access.owner || access.group;
  if (other_owner &&
      ::lchown(path, access.owner.value_or(kSame), access.group.value_or(kSame)) != 0)
    return false;
  return ::chmod(path, access.mode) == 0;
}

}  // namespace

std::expected<SocketFile, std::string> SocketFile::bind(int fd, const iouring::SocketAddress& at,
                                                        const Access& access) {
  const auto failed = [] { return std::unexpected(std::string(std::strerror(errno))); };
  if (auto obstacle = make_way(at, access.owner)) return std::unexpected(*std::move(obstacle));
  // The file that bind(2) makes has the socket's mode without the umask's bits.
  if (::fchmod(fd, access.mode) != 0) return failed();
  if (::bind(fd, at.data(), at.size()) != 0) return failed();
  struct stat file{};
  if (::lstat(path_of(at), &file) != 0) return failed();
  SocketFile made(at, file.st_dev, file.st_ino);
  if (!set_access(path_of(at), access)) return failed();
  return made;
}

SocketFile::~SocketFile() {
  if (inode_ == 0) return;
  struct stat file{};
  const bool ours =
      ::lstat(path_of(address_), &file) == 0 && file.st_dev == device_ && file.st_ino == inode_;
  if (ours) ::unlink(path_of(address_));
}

}  // namespace sallyport::gateway
