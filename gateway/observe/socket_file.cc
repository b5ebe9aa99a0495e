#include "gateway/observe/socket_file.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "gateway/observe/log.h"

namespace sallyport::gateway {
namespace {

// Nobody has the lock for longer than a few system calls.
constexpr std::chrono::milliseconds kPatience{500};

const char* path_of(const iouring::SocketAddress& unix_address) {
  return reinterpret_cast<const sockaddr_un*>(unix_address.data())->sun_path;
}

// What is at a path.
enum class Place { kFree, kDead, kListenedOn };

// The error is why what is there may not be replaced.
std::expected<Place, std::string> look_at(const iouring::SocketAddress& at,
                                          std::optional<uid_t> owner) {
  struct stat file{};
  if (::lstat(path_of(at), &file) != 0) return Place::kFree;  // bind(2) reports what is wrong
  if (!S_ISSOCK(file.st_mode)) return std::unexpected("a file that is no socket is there");
  if (file.st_uid != ::geteuid() && file.st_uid != owner)
    return std::unexpected("a socket of another user is there");
  const iouring::FileDescriptor probe(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return std::unexpected(std::strerror(errno));
  const bool refused = ::connect(probe.get(), at.data(), at.size()) != 0 && errno == ECONNREFUSED;
  return refused ? Place::kDead : Place::kListenedOn;
}

// What keeps the path from being bound; nothing if it is free, or was made so.
std::optional<std::string> make_way(const iouring::SocketAddress& at, std::optional<uid_t> owner) {
  const auto place = look_at(at, owner);
  if (!place) return place.error();
  if (*place == Place::kListenedOn) return std::strerror(EADDRINUSE);
  if (*place == Place::kDead && ::unlink(path_of(at)) != 0) return std::strerror(errno);
  return std::nullopt;
}

// For the file of a socket that is to take the place of another one. Nothing if it would be longer
// than the address of a socket can be.
std::optional<iouring::SocketAddress> next_to(const iouring::SocketAddress& place) {
  const std::filesystem::path path(path_of(place));
  const std::filesystem::path next =
      path.parent_path() / ("." + path.filename().string() + ".next");
  return iouring::SocketAddress::parse("unix:" + next.string());
}

struct stat status_of(int fd) {
  struct stat file{};
  if (::fstat(fd, &file) != 0) return {};
  return file;
}

// Whoever may write to the directory may put something else in the file's place at any time: what
// is changed is a socket, by its descriptor. fchmod(2) takes none of O_PATH.
std::expected<iouring::FileDescriptor, std::string> open_socket(const char* path) {
  iouring::FileDescriptor file(::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return std::unexpected(std::strerror(errno));
  if (!S_ISSOCK(status_of(file.get()).st_mode))
    return std::unexpected("another file has taken the place of the socket");
  return file;
}

bool set_access(int file, const SocketFile::Access& access) {
  constexpr auto kSame = static_cast<uid_t>(-1);
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  // The owner's rights come last, when there is nothing left to do.
  if (::chmod(path.c_str(), access.mode) != 0) return false;
  if (!access.owner && !access.group) return true;
  return ::fchownat(file, "", access.owner.value_or(kSame), access.group.value_or(kSame),
                    AT_EMPTY_PATH) == 0;
}

}  // namespace

std::expected<SocketFile, std::string> SocketFile::listen(int fd,
                                                          const iouring::SocketAddress& place,
                                                          const Access& access, InUse in_use) {
  const auto failed = [] { return std::unexpected(std::string(std::strerror(errno))); };
  auto lock = PathLock::take(path_of(place), kPatience);
  if (!lock) return std::unexpected(std::move(lock.error()));
  iouring::SocketAddress at = place;
  if (in_use == InUse::kTakeOver && look_at(place, access.owner) == Place::kListenedOn) {
    const auto next = next_to(place);
    if (!next) return std::unexpected("in use, and too long a path to take it over");
    at = *next;
  }
  if (auto obstacle = make_way(at, access.owner)) return std::unexpected(*std::move(obstacle));
  // The file that bind(2) makes has the socket's mode without the umask's bits.
  if (::fchmod(fd, access.mode) != 0) return failed();
  if (::bind(fd, at.data(), at.size()) != 0) return failed();
  auto file = open_socket(path_of(at));
  if (!file) return std::unexpected(std::move(file.error()));
  SocketFile made(at, *std::move(file), *std::move(lock));
  made.place_ = place;
  made.owner_ = access.owner;
  if (!set_access(made.file_.get(), access)) return failed();
  if (::listen(fd, SOMAXCONN) != 0) return failed();
  made.lock_.reset();
  return made;
}

std::expected<void, std::string> SocketFile::take_place() {
  if (at_ == place_) return {};
  const auto lock = PathLock::take(path_of(place_), kPatience);
  if (!lock) return std::unexpected(lock.error());
  if (const auto other = look_at(place_, owner_); !other) return std::unexpected(other.error());
  if (!is_there()) return std::unexpected("another file has taken the place of the socket");
  if (::rename(path_of(at_), path_of(place_)) != 0) return std::unexpected(std::strerror(errno));
  at_ = place_;
  return {};
}

bool SocketFile::is_there() const {
  const struct stat own = status_of(file_.get());
  struct stat there{};
  return ::lstat(path_of(at_), &there) == 0 && there.st_dev == own.st_dev &&
         there.st_ino == own.st_ino;
}

SocketFile::~SocketFile() {
  if (!file_ || !is_there()) return;
  const auto stays = [this](const std::string& why) {
    log_warning("the file of a socket stays", {{"path", path_of(at_)}, {"error", why}});
  };
  if (!lock_) {
    auto lock = PathLock::take(path_of(place_), {});
    if (!lock) {  // whoever has it deals with a dead socket
      stays(lock.error());
      return;
    }
    lock_.emplace(*std::move(lock));
  }
  if (is_there() && ::unlink(path_of(at_)) != 0) stays(std::strerror(errno));
}

}  // namespace sallyport::gateway
