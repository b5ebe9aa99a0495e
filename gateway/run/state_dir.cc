#include "gateway/run/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "ktls/trust/credential_file.h"
#include "ktls/trust/key_file.h"

namespace sallyport::gateway {
namespace {

constexpr std::size_t kLargestMib = 256;

std::string reason_of(int error) {
  char buffer[256];
  return strerror_r(error, buffer, sizeof buffer);  // the GNU one
}

// What is wrong with the rights of a directory whose files only we may write.
std::string directory_fault(const struct stat& status) {
  const std::string self = ktls::user_name(::geteuid());
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return "belongs to user " + ktls::user_name(status.st_uid) +
           ", which is neither root nor the user of this process, " + self;
  }
  // The group's bits are the mask of an access control list, too: without them it gives nothing.
  if ((status.st_mode & 077) == 0) return "";
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777));
  return std::string("mode ") + mode + " lets others than its owner use it (chmod 700)";
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// Two processes of one directory write one after the other. Never waited for.
class Lock {
 public:
  explicit Lock(int directory)
      : directory_(directory), held_(::flock(directory, LOCK_EX | LOCK_NB) == 0) {}
  ~Lock() {
    if (held_) ::flock(directory_, LOCK_UN);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  [[nodiscard]] bool held() const { return held_; }

 private:
  int directory_;
  bool held_;
};

}  // namespace

std::expected<StateDir, std::string> StateDir::open(const std::string& path) {
  const auto refuse = [&path](const std::string& why) {
    return std::unexpected("--state-dir " + path + ": " + why);
  };
  iouring::FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat status{};
  if (!directory || ::fstat(directory.get(), &status) != 0) {
    const int error = errno;
    const std::string as =
        error == EACCES ? " by user " + ktls::user_name(::geteuid()) : std::string();
    return refuse("cannot be opened" + as + ": " + reason_of(error));
  }
  if (const std::string fault = directory_fault(status); !fault.empty()) return refuse(fault);
  if (auto fault = ktls::key_directory_fault(path)) return refuse(*fault);
  return StateDir(path, std::move(directory));
}

std::expected<std::optional<std::string>, std::string> StateDir::read(
    const std::string& name) const {
  if (::faccessat(directory_.get(), name.c_str(), F_OK, 0) != 0 && errno == ENOENT)
    return std::nullopt;
  const auto text = ktls::read_file(path_of(name), ktls::FileRules::kSecret, kLargestMib);
  if (!text) return std::unexpected(text.error().message());
  return std::string((*text)->view());
}

std::expected<void, std::string> StateDir::replace(const std::string& name,
                                                   const std::string& text) const {
  const auto failed = [&](const std::string& what) {
    return std::unexpected(path_of(name) + ": " + what);
  };
  const Lock lock(directory_.get());
  if (!lock.held()) {
    return failed(errno == EWOULDBLOCK ? "another process writes it"
                                       : "flock: " + reason_of(errno));
  }
  // What a killed process left there is overwritten.
  const std::string next = name + ".next";
  const iouring::FileDescriptor file(::openat(
      directory_.get(), next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  const bool replaced =
      file && write_all(file.get(), text) && ::fsync(file.get()) == 0 &&
      ::renameat(directory_.get(), next.c_str(), directory_.get(), name.c_str()) == 0 &&
      ::fsync(directory_.get()) == 0;
  if (replaced) return {};
  const int error = errno;
  ::unlinkat(directory_.get(), next.c_str(), 0);  // gives a full disk its room back
  return failed("cannot be written: " + reason_of(error));
}

}  // namespace sallyport::gateway
