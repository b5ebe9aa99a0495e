#include "gateway/observe/path_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "gateway/observe/log.h"

namespace sallyport::gateway {
namespace {

constexpr std::chrono::milliseconds kPause{10};

std::filesystem::path beside(const std::filesystem::path& path) {
  return path.parent_path() / ("." + path.filename().string() + ".sallyport-lock");
}

// The one before us may have removed the file that we opened, and a third one have made the next.
bool is_there(int locked, const std::filesystem::path& file) {
  struct stat own{};
  struct stat there{};
  return ::fstat(locked, &own) == 0 && ::lstat(file.c_str(), &there) == 0 &&
         own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

}  // namespace

std::expected<PathLock, std::string> PathLock::take(const std::filesystem::path& path,
                                                    std::chrono::milliseconds patience) {
  std::filesystem::path file = beside(path);
  const auto failed = [&file](int error) {
    return std::unexpected(file.string() + ": " + std::strerror(error));
  };
  while (true) {
    iouring::FileDescriptor locked(
        ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!locked) return failed(errno);
    const bool held = ::flock(locked.get(), LOCK_EX | LOCK_NB) == 0;
    if (!held && errno != EWOULDBLOCK) return failed(errno);
    if (held && is_there(locked.get(), file)) return PathLock(std::move(file), std::move(locked));
    if (patience < kPause) return std::unexpected("another process starts or ends there");
    std::this_thread::sleep_for(kPause);
    patience -= kPause;
  }
}

PathLock::~PathLock() {
  if (!locked_) return;
  if (::unlink(file_.c_str()) != 0)
    log_info("a lock file stays", {{"path", file_.string()}, {"error", std::strerror(errno)}});
}

}  // namespace sallyport::gateway
